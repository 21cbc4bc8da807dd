import { pino } from 'pino';
import { startEmbeddedPostgres } from '../../main/embedded-postgres.js';

// A process that starts Postgres in the folder it is given, says so on stdout, and stays until it is killed.
const postgres = await startEmbeddedPostgres(process.argv[2]!, pino({ level: 'silent' }), { fsync: 'off' });
process.on('SIGUSR2', () => process.exit(0));
process.stdout.write(JSON.stringify({ pid: postgres.pid(), connection: postgres.connection }));
