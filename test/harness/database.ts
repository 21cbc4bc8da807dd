import { randomBytes } from 'node:crypto';
import type { Pool } from 'pg';
import { inject } from 'vitest';
import { createPool, type DatabaseOptions } from '../../store/database.js';

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
  drop(): Promise<void>;
}

/** The options for one database of the run's Postgres. */
export function onDatabase(server: TestServer, database: string): TestServer & { database?: string } {
  if (server.connectionString === undefined) return { ...server, database };
  return { connectionString: `${server.connectionString}/${database}` };
}

/** A migrated database of the test's own, cloned from the template. */
export async function createTestDatabase(): Promise<TestDatabase> {
  // Copied as files: ten times as fast as through the log, since the checkpoints it takes cost nothing without fsync.
  return createDatabase(`template ${TEMPLATE} strategy file_copy`);
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
    drop: async () => {
      await pool.end();
      await admin.query(`drop database ${name} with (force)`);
      await admin.end();
    },
  };
}
