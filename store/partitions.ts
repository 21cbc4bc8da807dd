import type { ClientBase } from 'pg';

const PARTITIONED = ['events', 'changes'] as const;
/** Beyond these years a time is a broken clock; such rows go to the default partition. */
const MIN_YEAR = 2015;
const MAX_YEAR = 2100;
const LOCK_KEY = 7_231_001;
const LOCK_NOT_AVAILABLE = '55P03';
/** What a partition without rows takes with its indexes, and some. */
const EMPTY_BYTES = 1024 * 1024;

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

/**
 * Gives the space of months back that are over and hold no row any more. They stay as partitions, since ingest knows them
 * to be there. One whose lock can't be had at once waits for another time. Returns the names of those emptied.
 */
export async function truncateEmptyPartitions(client: ClientBase, before: string): Promise<string[]> {
  const emptied: string[] = [];
  for (const table of PARTITIONED) {
    const { rows } = await client.query<{ name: string }>(
      `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = $1::regclass and c.relname < $2 and c.relname ~ '_\\d{4}_\\d{2}$' and pg_total_relation_size(c.oid) > $3`,
      [table, partitionOf(table, monthOf(Date.parse(before) * 1000)), EMPTY_BYTES],
    );
    for (const { name } of rows) {
      // A look without a lock first: most that are large hold rows.
      if ((await client.query(`select from ${name} limit 1`)).rowCount !== 0) continue;
      await client.query('begin');
      try {
        await client.query(`set local lock_timeout = '1s'`);
        await client.query(`lock table ${name} in access exclusive mode`);
        const { rowCount } = await client.query(`select from ${name} limit 1`);
        if (rowCount === 0) {
          await client.query(`truncate ${name}`);
          emptied.push(name);
        }
        await client.query('commit');
      } catch (error) {
        await client.query('rollback');
        if ((error as { code?: string }).code !== LOCK_NOT_AVAILABLE) throw error;
      }
    }
  }
  return emptied;
}
