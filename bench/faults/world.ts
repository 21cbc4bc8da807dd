import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pool } from 'pg';
import { pino } from 'pino';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../main/embedded-postgres.js';
import { createPool } from '../../store/database.js';
import { freePort } from '../../test/harness/free-port.js';
import { pause } from '../../test/harness/process-group.js';
import { CREDENTIALS } from '../../test/harness/s3.js';
import { webhookToken } from '../../test/harness/system.js';
import { startTcpProxy, type TcpProxy } from '../../test/harness/tcp-proxy.js';
import { Traffic } from '../traffic.js';
import { Load } from './load.js';
import { ManagedS3 } from './managed-s3.js';
import { Replica } from './replica.js';

/** Where sessions of the two sources begin. */
const POSTED = 0;
const IN_BUCKET = 500_000;
/** Of small disks: what a spool's and the database's hold. */
const SPOOL_MB = 24;
const DATABASE_MB = 1024;

/** Who does what, by how many there are. */
const ROLES: Record<number, string[]> = {
  1: ['ingest,api,jobs'],
  2: ['ingest,api,jobs', 'ingest,api,jobs'],
  4: ['ingest', 'ingest', 'api,jobs', 'api,jobs'],
};

/** A Postgres, a bucket, and replicas of whochanged over both; each can be taken away. */
export interface World {
  folder: string;
  postgres: EmbeddedPostgres;
  /** Replicas reach Postgres through it. */
  database: TcpProxy;
  /** Past the proxy. */
  pool: Pool;
  databaseDisk: string;
  s3: ManagedS3;
  replicas: Replica[];
  load: Load;
  traffic: Traffic;
  adminToken: string;
  /** Stops Postgres where it is. Returns what lets it go on. */
  pausePostgres(): () => void;
  stop(): Promise<void>;
}

/** @param options `smallDisks`: Postgres and the first replica's spool lie on small disks (tmpfs) of their own. Needs root */
export async function startWorld(options: { replicas: number; smallDisks: boolean }): Promise<World> {
  const roles = ROLES[options.replicas];
  if (!roles) throw new Error(`--replicas is one of ${Object.keys(ROLES).join(', ')}`);
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-faults-'));
  await chmod(folder, 0o711);
  const undo: Array<() => Promise<unknown>> = [() => rm(folder, { recursive: true, force: true })];
  const stop = async () => {
    for (const step of undo.toReversed()) await step();
  };
  try {
    const traffic = new Traffic({ lean: true });
    const port = await freePort();
    const mounted = async (path: string, megabytes: number, mode: string) => {
      await mkdir(path, { mode: 0o711 });
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=${mode}`, 'tmpfs', path]);
      undo.push(async () => execFileSync('umount', ['-l', path]));
      return path;
    };
    const databaseDisk = join(folder, 'database');
    if (options.smallDisks) await mounted(databaseDisk, DATABASE_MB, '0711');
    const postgres = await startEmbeddedPostgres(databaseDisk, pino({ level: 'silent' }), {
      listen_addresses: '127.0.0.1',
      port: String(port),
      ...(options.smallDisks && { max_wal_size: '128MB', min_wal_size: '64MB' }),
    });
    undo.push(() => postgres.stop());
    const database = await startTcpProxy(port);
    undo.push(() => database.stop());
    const pool = createPool({
      connectionString: `postgres://whochanged@127.0.0.1:${port}/postgres`,
      poolSize: 3,
      applicationName: 'faults',
    });
    pool.on('error', () => undefined);
    undo.push(() => pool.end());
    const s3 = await ManagedS3.start(traffic, IN_BUCKET);
    undo.push(() => s3.stop());

    const redactionKey = join(folder, 'redaction.key');
    await writeFile(redactionKey, randomBytes(32).toString('hex'), { mode: 0o600 });
    const logKey = join(folder, 'log.key');
    execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', logKey], { stdio: 'ignore' });
    await chmod(logKey, 0o600);
    const environment = {
      DATABASE_URL: `postgres://whochanged@127.0.0.1:${database.port}/postgres`,
      WHOCHANGED_REDACTION_KEY_FILE: redactionKey,
      WHOCHANGED_LOG_KEY_FILE: logKey,
      WHOCHANGED_LOG_ORIGIN: 'faults.example.com/whochanged',
      WHOCHANGED_S3_LIST_SECONDS: '2',
      WHOCHANGED_S3_LEASE_SECONDS: '20',
      WHOCHANGED_LOG_LEVEL: 'info',
      ...CREDENTIALS,
    };
    const replicas: Replica[] = [];
    for (const [i, role] of roles.entries()) {
      const name = `replica ${i + 1}`;
      const own = join(folder, `replica-${i + 1}`);
      const spool = join(folder, `disk-${i + 1}`);
      const small = options.smallDisks && i === 0;
      if (small) await mounted(spool, SPOOL_MB, '0700');
      replicas.push(
        new Replica({
          name,
          folder: own,
          roles: role,
          httpPort: await freePort(),
          environment: { ...environment, ...(small && { WHOCHANGED_SPOOL_DIR: spool }) },
        }),
      );
    }
    undo.push(async () => {
      for (const replica of replicas) await replica.stop();
    });
    for (const replica of replicas) await replica.start();
    const adminToken = (await readFile(join(replicas[0]!.folder, 'admin-token'), 'utf8')).trim();
    const token = await webhookToken(replicas[0]!.folder);
    const load = new Load({ traffic, replicas, token, first: POSTED });
    undo.push(async () => load.close());
    await addBucket(replicas, adminToken, s3);
    return {
      folder,
      postgres,
      database,
      pool,
      databaseDisk,
      s3,
      replicas,
      load,
      traffic,
      adminToken,
      pausePostgres: () => pause(postgres.pid()!),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function addBucket(replicas: Replica[], adminToken: string, s3: ManagedS3): Promise<void> {
  const api = replicas.find((replica) => replica.roles.includes('api'))!;
  const response = await fetch(`${api.http}/v1/sources/s3`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      name: 'bucket',
      cluster: 'bucket',
      bucket: s3.bucket,
      prefix: '',
      endpoint: s3.endpoint,
      pathStyle: true,
      from: '2026-01-01T00:00:00Z',
    }),
  });
  if (!response.ok) throw new Error(`the source was not added: ${response.status} ${await response.text()}`);
}
