import { Kysely, PostgresDialect } from 'kysely';
import type { ClientBase, Pool, PoolClient } from 'pg';
import type { Database } from './schema.js';

/** Where a question is asked: the whole database, or what a tenant may see of it. */
export interface Store {
  db: Kysely<Database>;
  pool: Pick<Pool, 'connect' | 'query'>;
}

/** A tenant's view, for one request. */
export interface TenantStore extends Store {
  /** Ends it. Must be called once, whatever came of the request. */
  release(): Promise<void>;
}

/**
 * Opens a read-only transaction in which Postgres itself shows only the rows of a scope (migrations/011-tenants.sql).
 * What code forgets to filter, row-level security still keeps back. All questions go through one connection, one after
 * the other.
 */
export async function openTenantStore(pool: Pool, scope: readonly string[]): Promise<TenantStore> {
  const client = await pool.connect();
  try {
    await client.query('begin read only');
    await client.query('set local role whochanged_tenant');
    await client.query(`select set_config('whochanged.scope', $1, true)`, [scope.join(',')]);
  } catch (error) {
    client.release(error as Error);
    throw error;
  }
  let released = false;
  const view = viewOf(client, () => released);
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool: view as Pool }) });
  return {
    db,
    pool: view,
    release: async () => {
      released = true;
      // Whatever the transaction was left in, the next user of the connection must not find it.
      const broken = await client.query('rollback').then(
        () => undefined,
        (error: Error) => error,
      );
      client.release(broken);
    },
  };
}

/** Asks through one connection that somebody else holds, such as a job's. */
export function storeOn(client: ClientBase): Store {
  const view = viewOf(client as PoolClient, () => false);
  return { db: new Kysely<Database>({ dialect: new PostgresDialect({ pool: view as Pool }) }), pool: view };
}

/**
 * The one connection in the place of a pool: handing it back is not ending it. Once it was released it is somebody else's, and
 * whoever still asks for an answer that nobody waits for is refused.
 */
function viewOf(client: PoolClient, isReleased: () => boolean): Pick<Pool, 'connect' | 'query'> {
  const borrowed = new Proxy(client, {
    get(target, property) {
      if (property === 'release') return () => undefined;
      if (isReleased()) throw new Error('this connection was released when its request ended');
      const value = Reflect.get(target, property, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return {
    connect: (async () => borrowed) as Pool['connect'],
    query: ((...args: Parameters<Pool['query']>) => borrowed.query(...args)) as Pool['query'],
  };
}
