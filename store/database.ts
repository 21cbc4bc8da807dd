import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { formatMicros, parseMicros } from '../core/timestamp.js';
import type { Database } from './schema.js';

const TIMESTAMPTZ = 1184;

export interface DatabaseOptions {
  connectionString?: string;
  host?: string;
  port?: number;
  user?: string;
  database?: string;
  poolSize: number;
  applicationName: string;
  statementTimeoutMs?: number;
}

/** bigint stays text, since a double can't hold it; timestamptz is RFC 3339 in UTC with microseconds, since a Date can't hold them. */
function typeParser(oid: number, format?: 'text' | 'binary') {
  if (oid === TIMESTAMPTZ && format !== 'binary') {
    return (text: string) => {
      const micros = parseMicros(text.replace(/([+-]\d{2})$/, '$1:00'));
      return micros === undefined ? text : formatMicros(micros);
    };
  }
  return format === 'binary' ? pg.types.getTypeParser(oid, 'binary') : pg.types.getTypeParser(oid, 'text');
}

export function createPool(options: DatabaseOptions): pg.Pool {
  return new pg.Pool({
    ...(options.connectionString !== undefined && { connectionString: options.connectionString }),
    ...(options.host !== undefined && { host: options.host }),
    ...(options.port !== undefined && { port: options.port }),
    ...(options.user !== undefined && { user: options.user }),
    ...(options.database !== undefined && { database: options.database }),
    max: options.poolSize,
    application_name: options.applicationName,
    options: '-c timezone=UTC',
    connectionTimeoutMillis: 5000,
    ...(options.statementTimeoutMs !== undefined && { statement_timeout: options.statementTimeoutMs }),
    types: { getTypeParser: typeParser as typeof pg.types.getTypeParser },
  });
}

export function createKysely(pool: pg.Pool): Kysely<Database> {
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}
