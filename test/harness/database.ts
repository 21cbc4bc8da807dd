import { randomBytes } from 'node:crypto';
import type { ClientBase, Pool } from 'pg';
import { inject } from 'vitest';
import { createPool, type DatabaseOptions } from '../../store/database.js';

const UNDEFINED_TABLE = '42P01';

export const TEMPLATE = 'whochanged_template';

/** Where the run's one Postgres is: a URL without its database, or a unix socket's folder. */
export interface TestServer {
  connectionString?: string;
  host?: string;
  port?: number;
  user?: string;
}

export interface TestDatabase {
  pool: Pool;
  /** For a process of its own. */
  options: DatabaseOptions;
  url: string;
  /** Lets go of it, with what is in it. */
  leave(): Promise<void>;
  drop(): Promise<void>;
}

/** The options for one database of the run's Postgres. */
export function onDatabase(server: TestServer, database: string): TestServer & { database?: string } {
  if (server.connectionString === undefined) return { ...server, database };
  return { connectionString: `${server.connectionString}/${database}` };
}

/** A migrated database of the test's own, cloned from the template, or from another database that nobody is connected to. */
export async function createTestDatabase(template = TEMPLATE): Promise<TestDatabase> {
  // Copied as files: ten times as fast as through the log, since the checkpoints it takes cost nothing without fsync.
  return createDatabase(`template ${template} strategy file_copy`);
}

/** A database without a schema. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  return createDatabase('');
}

async function createDatabase(clause: string): Promise<TestDatabase> {
  const server = inject('postgres');
  const name = `test_${randomBytes(6).toString('hex')}`;
  const admin = createPool({ ...onDatabase(server, 'postgres'), poolSize: 1, applicationName: 'test-admin' });
  await admin.query(`create database ${name} ${clause}`);
  const options: DatabaseOptions = { ...onDatabase(server, name), poolSize: 6, applicationName: 'test' };
  const pool = createPool(options);
  const url =
    options.connectionString ??
    `postgres://${options.user}@localhost/${name}?host=${encodeURIComponent(options.host!)}`;
  return {
    pool,
    options,
    url,
    leave: async () => {
      await pool.end();
      await admin.end();
    },
    drop: async () => {
      const miscounted = await findMiscountedHours(pool);
      await pool.end();
      await admin.query(`drop database ${name} with (force)`);
      await admin.end();
      if (miscounted.length > 0)
        throw new Error(`change_counts disagrees with changes: ${JSON.stringify(miscounted)}`);
    },
  };
}

/** Hours of which change_counts says another number than changes holds: none, whatever a test has done to its changes. */
async function findMiscountedHours(pool: Pool): Promise<unknown[]> {
  const { rows } = await pool
    .query(
      `select * from (select cluster_id, hour, count from change_counts where count <> 0) kept
         full join (select cluster_id, date_trunc('hour', at, 'UTC') as hour, count(*) as counted
                      from changes where class in ('change', 'access') group by 1, 2) c using (cluster_id, hour)
        where count is distinct from counted`,
    )
    .catch((error: { code?: string }) => {
      // A database without a schema, or with an older one.
      if (error.code === UNDEFINED_TABLE) return { rows: [] };
      throw error;
    });
  return rows;
}

/** Does something through one connection of a pool, which goes back to it then. */
export async function withClient<T>(pool: Pool, work: (client: ClientBase) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    return await work(client);
  } finally {
    client.release();
  }
}
