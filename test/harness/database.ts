import { randomBytes } from 'node:crypto';
import type { Pool } from 'pg';
import { inject } from 'vitest';
import { createPool, type DatabaseOptions } from '../../store/database.js';

export const TEMPLATE = 'whochanged_template';

export interface TestDatabase {
  pool: Pool;
  /** For a process of its own. */
  options: DatabaseOptions;
  url: string;
  drop(): Promise<void>;
}

/** A migrated database of the test's own, cloned from the template. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const server = inject('postgres');
  const name = `test_${randomBytes(6).toString('hex')}`;
  const admin = createPool({ ...connection(server, 'postgres'), poolSize: 1, applicationName: 'test-admin' });
  await admin.query(`create database ${name} template ${TEMPLATE}`);
  const options: DatabaseOptions = { ...connection(server, name), poolSize: 6, applicationName: 'test' };
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
      await dropWhenUnused(admin, name);
      await admin.end();
    },
  };
}

function connection(server: { connectionString?: string; host?: string; user?: string }, database: string) {
  return server.connectionString === undefined
    ? { ...server, database }
    : { connectionString: `${server.connectionString}/${database}` };
}

/** Sessions end a moment after their sockets; forcing them out would make their clients throw. */
async function dropWhenUnused(admin: Pool, name: string): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const { rows } = await admin.query('select count(*)::int as open from pg_stat_activity where datname = $1', [name]);
    if (rows[0].open === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await admin.query(`drop database ${name} with (force)`);
}
