/** A process that runs one job on a database, for tests of leadership: `runner-process.ts URL NAME [SILENCE_MS]`. */
import { Registry } from 'prom-client';
import type { Job } from '../../jobs/job.js';
import { JobRunner } from '../../jobs/runner.js';
import { createPool } from '../../store/database.js';

const [url, name, silenceMs] = process.argv.slice(2) as [string, string, string?];
const pool = createPool({ connectionString: url, poolSize: 4, applicationName: name });
pool.on('error', () => undefined);

/** Notes who ran when, and takes a while, so that runs which overlapped would be seen. */
const job: Job = {
  name: 'mark',
  schedule: '* * * * * *',
  async runOnce({ client }) {
    const { rows } = await client.query('insert into marks (process) values ($1) returning id', [name]);
    await client.query('select pg_sleep(0.3)');
    // Holding its lock, and asking nothing.
    await new Promise((done) => setTimeout(done, 100));
    await client.query('update marks set until = clock_timestamp() where id = $1', [rows[0].id]);
    return { rows: 1 };
  },
};
const silent = () => undefined;
const runner = new JobRunner({
  pool,
  jobs: [job],
  log: { info: silent, warn: silent, error: silent },
  registry: new Registry(),
  ...(silenceMs !== undefined && { silenceMs: Number(silenceMs) }),
});
await runner.start();
console.log(runner.leading ? 'leading' : 'waiting');
process.on('SIGTERM', async () => {
  await runner.stop();
  await pool.end();
  console.log('stopped');
});
