import { join } from 'node:path';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { createPool, type DatabaseOptions } from '../store/database.js';
import { migrate } from '../store/migrate.js';
import type { Config } from './config.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.js';

const RETRY_MS = 2000;

export interface StoreConnection {
  pool: Pool;
  /** Resolves once the schema is there, rejects when stopped before; what needs the database waits for it, the receiver doesn't. */
  ready: Promise<void>;
  embedded: EmbeddedPostgres | undefined;
  options: DatabaseOptions;
  stop(): Promise<void>;
}

/**
 * Connects to the operator's Postgres, or starts the embedded one. With the operator's, an absent Postgres is waited
 * for, so that the receiver can spool meanwhile; a migration that fails is fatal.
 */
export async function openStore(
  config: Config,
  log: Logger,
  onFatal: (error: unknown) => void,
): Promise<StoreConnection> {
  const embedded =
    config.database.url === undefined ? await startEmbeddedPostgres(join(config.dataDir), log) : undefined;
  const options: DatabaseOptions = {
    ...(embedded ? embedded.connection : { connectionString: config.database.url! }),
    poolSize: config.database.poolSize,
    applicationName: 'whochanged',
  };
  const pool = createPool(options);
  // An idle connection that dies with Postgres is the pool's business; whoever asks next is told.
  pool.on('error', (error) => log.warn({ err: error }, 'a connection to Postgres was lost'));
  let stopped = false;
  const ready = (async () => {
    while (!stopped) {
      try {
        const applied = await migrate(pool);
        if (applied.length > 0) log.info({ applied }, 'migrated');
        return;
      } catch (error) {
        if ((error as Error).message.startsWith('migration ')) {
          onFatal(error);
          throw error;
        }
        log.warn({ err: error, retryInMs: RETRY_MS }, 'Postgres is not reachable yet');
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    throw new Error('stopped before Postgres was there');
  })();
  ready.catch(() => undefined);
  return {
    pool,
    ready,
    embedded,
    options,
    stop: async () => {
      stopped = true;
      await pool.end();
      await embedded?.stop();
    },
  };
}
