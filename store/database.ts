import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { formatMicros, parseMicros } from '../core/timestamp.js';
import { PreparingClient } from './prepared.js';
import type { Database } from './schema.js';

const { builtins } = pg.types;
const TIMESTAMPTZ_ARRAY = 1185;

/** What pg calls an array parser; its types leave it out. */
const { arrayParser } = pg.types as unknown as {
  arrayParser: { create<T>(text: string, parse: (element: string) => T): { parse(): T[] } };
};

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

const HYPHEN = 0x2d;
const SPACE = 0x20;

/** As Postgres writes a timestamptz: `2026-01-02 03:04:05.000006+00`, or `infinity`, which stays as it is. */
function timestamp(text: string): string {
  // 2026-01-02 03:04:05[.000006]+00, as the session's zone is UTC: what is there is only written otherwise.
  if (text.endsWith('+00') && text.charCodeAt(4) === HYPHEN && text.charCodeAt(10) === SPACE) {
    const fraction = text.slice(20, -3).padEnd(6, '0');
    return `${text.slice(0, 10)}T${text.slice(11, 19)}.${fraction}Z`;
  }
  const micros = parseMicros(text.replace(/([+-]\d{2})$/, '$1:00'));
  return micros === undefined ? text : formatMicros(micros);
}

const TEXT_PARSERS: Record<number, (text: string) => unknown> = {
  [builtins.TIMESTAMPTZ]: timestamp,
  [TIMESTAMPTZ_ARRAY]: (text) => arrayParser.create(text, timestamp).parse(),
  // A Date would shift them into this machine's zone.
  [builtins.DATE]: (text) => text,
  [builtins.TIMESTAMP]: (text) => text,
};

function typeParser(oid: number, format?: 'text' | 'binary') {
  if (format === 'binary') return pg.types.getTypeParser(oid, 'binary');
  return TEXT_PARSERS[oid] ?? pg.types.getTypeParser(oid, 'text');
}

/** How long the server may take to close what it was told to. */
const CLOSE_MS = 5000;

/**
 * A pool whose end is that of its connections. pg-pool ends once it has told them to close: a Postgres that is stopped then still
 * has some open, and what it says to those reads like a loss.
 */
class ClosingPool extends pg.Pool {
  readonly #open = new Set<pg.PoolClient>();

  constructor(options: pg.PoolConfig) {
    super(options);
    this.on('connect', (client) => this.#open.add(client));
    this.on('remove', (client) => this.#open.delete(client));
  }

  override async end(): Promise<void> {
    await super.end();
    if (this.#open.size === 0) return;
    await new Promise<void>((done) => {
      const timer = setTimeout(done, CLOSE_MS);
      this.on('remove', () => {
        if (this.#open.size > 0) return;
        clearTimeout(timer);
        done();
      });
    });
  }
}

/**
 * A pool of connections. A bigint comes as text, since a double can't hold it; a timestamptz as RFC 3339 in UTC with
 * microseconds, since a Date can't hold them.
 */
export function createPool(options: DatabaseOptions): pg.Pool {
  const pool = new ClosingPool({
    Client: PreparingClient,
    ...(options.connectionString !== undefined && { connectionString: options.connectionString }),
    ...(options.host !== undefined && { host: options.host }),
    // PGSSLMODE is meant for other servers.
    ...(options.host?.startsWith('/') && { ssl: false }),
    ...(options.port !== undefined && { port: options.port }),
    ...(options.user !== undefined && { user: options.user }),
    ...(options.database !== undefined && { database: options.database }),
    max: options.poolSize,
    application_name: options.applicationName,
    options: '-c timezone=UTC',
    connectionTimeoutMillis: 5000,
    ...(options.statementTimeoutMs !== undefined && { statement_timeout: options.statementTimeoutMs }),
    keepAlive: true,
    types: { getTypeParser: typeParser as typeof pg.types.getTypeParser },
  });
  // A connection that dies between two queries reports it as an event, which would end the process if nobody
  // listened. Whoever holds it learns of it from the next query.
  pool.on('connect', (client) => client.on('error', () => undefined));
  pool.on('error', () => undefined);
  return pool;
}

export function createKysely(pool: pg.Pool): Kysely<Database> {
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}
