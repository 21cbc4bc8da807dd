import type { Kysely, RawBuilder } from 'kysely';
import type { Pool } from 'pg';
import Cursor from 'pg-cursor';
import type { Database } from '../schema.js';

const ROWS_AT_ONCE = 500;

/** Rows of statements one after the other, read through a cursor as fast as the reader takes them. */
export async function* streamRows<T>(
  pool: Pick<Pool, 'connect'>,
  db: Kysely<Database>,
  statements: RawBuilder<T>[],
): AsyncGenerator<T> {
  for (const statement of statements) {
    const { sql, parameters } = statement.compile(db);
    const client = await pool.connect();
    const cursor = client.query(new Cursor<T>(sql, [...parameters]));
    try {
      for (
        let rows = await cursor.read(ROWS_AT_ONCE);
        rows.length > 0;
        rows = await cursor.read(ROWS_AT_ONCE)
      )
        yield* rows;
    } finally {
      await cursor.close().catch(() => undefined);
      client.release();
    }
  }
}
