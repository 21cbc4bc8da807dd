import type { ClientBase } from 'pg';

/** The tables that have a partition for each month. */
export const PARTITIONED = ['event_rows', 'changes'] as const;
/** Beyond these years a time is a broken clock; such rows go to the default partition. */
const MIN_YEAR = 2015;
const MAX_YEAR = 2100;
const LOCK_KEY = 7_231_001;
const LOCK_NOT_AVAILABLE = '55P03';
const CHECK_VIOLATION = '23514';
/** Who wants a table for itself keeps all others waiting who come after it. */
const LOCK_WAIT_MS = 200;

/** The month of a time in microseconds since the epoch, as months since year 0 UTC. */
export function monthOf(micros: number): number {
  const date = new Date(micros / 1000);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/** The name of a month's partition. */
export function partitionOf(table: (typeof PARTITIONED)[number] | '', month: number): string {
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
      const bounds = `for values from ('${monthStart(month)}') to ('${monthStart(month + 1)}')`;
      try {
        await inPartitionLock(client, () =>
          client.query(`create table if not exists ${partition} partition of ${table} ${bounds}`),
        );
      } catch (error) {
        if ((error as { code?: string }).code !== CHECK_VIOLATION) throw error;
        await inPartitionLock(client, () => splitFromDefault(client, table, month, bounds));
      }
    }
  }
}

/** Makes a partition of a month of which the default partition holds rows: they move into it. */
async function splitFromDefault(
  client: ClientBase,
  table: (typeof PARTITIONED)[number],
  month: number,
  bounds: string,
): Promise<void> {
  const partition = partitionOf(table, month);
  const exists = await client.query<{ yes: boolean }>(
    `select to_regclass('${partition}') is not null as yes`,
  );
  if (exists.rows[0]?.yes) return;
  // Nobody writes rows of that month meanwhile.
  await client.query(`lock table only ${table} in share row exclusive mode`);
  await client.query(`create table ${partition} (like ${table} including defaults including constraints)`);
  await client.query(
    `with moved as (delete from ${table}_default where at >= $1 and at < $2 returning *)
     insert into ${partition} select * from moved`,
    [monthStart(month), monthStart(month + 1)],
  );
  await client.query(`alter table ${table} attach partition ${partition} ${bounds}`);
}

/** Does some work in a transaction while no other process makes or drops partitions. */
async function inPartitionLock(client: ClientBase, work: () => Promise<unknown>): Promise<void> {
  await client.query('begin');
  try {
    await client.query('select pg_advisory_xact_lock($1)', [LOCK_KEY]);
    await work();
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/**
 * Drops the partitions of months that are over and hold no row any more: all they held was archived. The table's lock is
 * waited for so briefly that writers hardly notice; where it can't be had, the partition waits for another time. A writer
 * that believes it to be there goes on into the default partition, which ensurePartitions takes its rows from. The month
 * before `before` stays, since its rows may still be on their way. Returns the names of those dropped.
 */
export async function dropEmptyPartitions(client: ClientBase, before: string): Promise<string[]> {
  const dropped: string[] = [];
  const kept = partitionOf('', monthOf(Date.parse(before) * 1000) - 1);
  for (const table of PARTITIONED) {
    const { rows } = await client.query<{ name: string }>(
      `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = $1::regclass and c.relname < $2 and c.relname ~ '_\\d{4}_\\d{2}$' order by 1`,
      [table, `${table}${kept}`],
    );
    for (const { name } of rows) {
      // A look without a lock first: most hold rows.
      if ((await client.query(`select from ${name} limit 1`)).rowCount !== 0) continue;
      await client.query('begin');
      try {
        await client.query(`set local lock_timeout = '${LOCK_WAIT_MS}ms'`);
        await client.query('select pg_advisory_xact_lock($1)', [LOCK_KEY]);
        // In the order in which writers take them.
        await client.query(`lock table only ${table} in access exclusive mode`);
        await client.query(`lock table ${name} in access exclusive mode`);
        const { rowCount } = await client.query(`select from ${name} limit 1`);
        if (rowCount === 0) {
          await client.query(`drop table ${name}`);
          dropped.push(name);
        }
        await client.query('commit');
      } catch (error) {
        await client.query('rollback');
        if ((error as { code?: string }).code !== LOCK_NOT_AVAILABLE) throw error;
      }
    }
  }
  return dropped;
}
