import type { ClientBase } from 'pg';
import { monthOf, PARTITIONED, partitionOf } from './partitions.js';

/** Late events come for a month that has just ended. */
const SETTLED_DAYS = 7;
const DAY_MS = 86_400_000;

/** What a REINDEX CONCURRENTLY that broke off leaves (PostgreSQL documentation, REINDEX, "Rebuilding Indexes Concurrently"). */
const BROKEN_OFF = `
  select c.relname as name from pg_index x
    join pg_class c on c.oid = x.indexrelid
    join pg_inherits i on i.inhrelid = x.indrelid
   where not x.indisvalid and c.relname ~ '_ccnew\\d*$' and i.inhparent = any($1::regclass[])`;

/** Partitions of months that ended a week before `now` (RFC 3339) or earlier and were not compacted yet, oldest first. */
export async function findPartitionsToCompact(client: ClientBase, now: string): Promise<string[]> {
  const until = partitionOf('', monthOf((Date.parse(now) - SETTLED_DAYS * DAY_MS) * 1000));
  const { rows } = await client.query<{ name: string }>(
    `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = any($1::regclass[]) and c.relname ~ '_\\d{4}_\\d{2}$' and right(c.relname, 8) < $2
        and not exists (select from compacted_partitions p where p.partition = c.oid)
      order by right(c.relname, 8), c.relname`,
    [PARTITIONED, until],
  );
  return rows.map(({ name }) => name);
}

/**
 * Builds a partition's indexes anew, one after another, while it is read and written as ever. Events come in the order of their times, and
 * nearly every index begins with something else, so that its pages are split in the middle: built at once they are a quarter smaller.
 * @returns false where the signal ended it before all were built
 * @throws the database's error; what it has left is removed by the next call
 */
export async function compactPartition(
  client: ClientBase,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  const { rows } = await client.query<{ name: string }>(BROKEN_OFF, [PARTITIONED]);
  for (const left of rows) await client.query(`drop index concurrently if exists ${left.name}`);
  const indexes = await client.query<{ name: string }>(
    'select indexrelid::regclass::text as name from pg_index where indrelid = to_regclass($1) order by 1',
    [name],
  );
  for (const index of indexes.rows) {
    if (signal.aborted) return false;
    await client.query(`reindex index concurrently ${index.name}`);
  }
  await client.query(
    'insert into compacted_partitions (partition) select oid from pg_class where oid = to_regclass($1) on conflict do nothing',
    [name],
  );
  return true;
}
