import type { ClientBase } from 'pg';

const PARTITIONED = ['events', 'changes'] as const;
/** Beyond these years a time is a broken clock; such rows go to the default partition. */
const MIN_YEAR = 2015;
const MAX_YEAR = 2100;
const LOCK_KEY = 7_231_001;

/** The month of a time in microseconds since the epoch, as months since year 0 UTC. */
export function monthOf(micros: number): number {
  const date = new Date(micros / 1000);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/** The name of a month's partition. */
export function partitionOf(table: (typeof PARTITIONED)[number], month: number): string {
  return `${table}_${Math.floor(month / 12)}_${String((month % 12) + 1).padStart(2, '0')}`;
}

function monthStart(month: number): string {
  return `${Math.floor(month / 12)}-${String((month % 12) + 1).padStart(2, '0')}-01T00:00:00Z`;
}

/**
 * Makes sure that the monthly partitions of these months exist. Safe from several processes at once.
 * Must not run inside a transaction that has written: creating a partition locks the parent table.
 */
export async function ensurePartitions(client: ClientBase, months: Iterable<number>): Promise<void> {
  for (const month of months) {
    const year = Math.floor(month / 12);
    if (!Number.isFinite(month) || year < MIN_YEAR || year > MAX_YEAR) continue;
    for (const table of PARTITIONED) {
      const partition = partitionOf(table, month);
      const exists = await client.query(`select to_regclass('${partition}') is not null as yes`);
      if (exists.rows[0]?.yes) continue;
      await client.query('begin');
      try {
        await client.query('select pg_advisory_xact_lock($1)', [LOCK_KEY]);
        await client.query(
          `create table if not exists ${partition} partition of ${table}
             for values from ('${monthStart(month)}') to ('${monthStart(month + 1)}')`,
        );
        await client.query('commit');
      } catch (error) {
        await client.query('rollback');
        throw error;
      }
    }
  }
}
