import type { ClientBase } from 'pg';
import { partitionOf } from './partitions.js';

/** Rows that a partition must hold before statistics say anything. */
const MIN_ROWS = 1000;
/** What appending looks into besides the partitions. */
const SHARED_TABLES = [
  'bodies',
  'body_packs',
  'objects',
  'object_uids',
  'users',
  'event_contexts',
  'open_requests',
];

/**
 * Sees to the first statistics of each month's partitions. Without any, Postgres takes a full partition for an empty
 * one and scans it for every event, until autovacuum comes by a minute later: long enough to fall far behind.
 */
export class FirstStatistics {
  /** Rows written by us into months that have no statistics yet. */
  readonly #months = new Map<number, number>();

  /** To be called once for each month that is written to. */
  async notice(client: ClientBase, months: Iterable<number>): Promise<void> {
    for (const month of months) {
      const { rows } = await client.query<{ known: boolean }>(
        'select reltuples >= $2 as known from pg_class where oid = to_regclass($1)',
        [partitionOf('event_rows', month), MIN_ROWS],
      );
      if (rows[0]?.known === false) this.#months.set(month, 0);
    }
  }

  count(month: number, rows: number): void {
    const known = this.#months.get(month);
    if (known !== undefined) this.#months.set(month, known + rows);
  }

  /** To be called after a commit. */
  async gather(client: ClientBase): Promise<void> {
    for (const [month, rows] of this.#months) {
      if (rows < MIN_ROWS) continue;
      this.#months.delete(month);
      const partitions = [partitionOf('event_rows', month), partitionOf('changes', month)];
      // Retention may have dropped one meanwhile.
      const { rows: there } = await client.query<{ name: string }>(
        'select name from unnest($1::text[]) as p (name) where to_regclass(name) is not null',
        [partitions],
      );
      await client.query(`analyze ${[...there.map(({ name }) => name), ...SHARED_TABLES].join(', ')}`);
    }
  }
}
