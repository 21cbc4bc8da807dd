import type { ClientBase } from 'pg';
import { type ArchivedColumn, BODY_REFERENCES, CHANGE_COLUMNS, EVENT_COLUMNS } from './columns.js';
import { deleteChanges, deleteEvents, lockChanges, lockEvents } from './due-rows.js';
import type { ArchiveReader } from './files.js';
import type { Row } from './parquet.js';
import { rowText, SegmentReader } from './segment-files.js';
import { withSegment } from './segment-lock.js';
import { moveSegment, type Segment } from './segments.js';

/** Rows that are deleted in one transaction. */
const ROWS_AT_ONCE = 1000;

export interface Dropped {
  events: number;
  changes: number;
  /** Rows that stay, though archived: a hold came, or they are not what was archived any more. */
  kept: number;
}

/**
 * Deletes a segment's rows from the database: those that are read back from the archive at this very time and are, column
 * by column, what the database holds. What isn't stays. Bounded transactions; goes on where it broke off.
 * @returns undefined where a question needs the rows, or somebody else is at it
 * @throws ArchiveError, or the archive's error, before a row is deleted that could not be read
 */
export async function dropSegment(
  client: ClientBase,
  archive: ArchiveReader,
  segment: Segment,
  signal: AbortSignal,
): Promise<Dropped | undefined> {
  return withSegment(client, segment.id, () => drop(client, archive, segment, signal));
}

async function drop(
  client: ClientBase,
  archive: ArchiveReader,
  segment: Segment,
  signal: AbortSignal,
): Promise<Dropped | undefined> {
  if (segment.state !== 'dropping') {
    const mine = await moveSegment(client, segment.id, ['verified', 'loaded', 'loading'], 'dropping');
    if (!mine) return undefined;
  }
  const reader = new SegmentReader(archive, segment);
  const dropped: Dropped = { events: 0, changes: 0, kept: 0 };
  // Changes first: an event whose change stays must stay too.
  for (const [name, columns, lock, remove] of [
    ['changes', CHANGE_COLUMNS, lockChanges, deleteChanges],
    ['events', EVENT_COLUMNS, lockEvents, deleteEvents],
  ] as const) {
    for await (const group of reader[name]()) {
      for (let from = 0; from < group.length; from += ROWS_AT_ONCE) {
        if (signal.aborted) return dropped;
        const rows = group.slice(from, from + ROWS_AT_ONCE);
        const gone = await dropRows(client, segment.clusterID, rows, columns, lock, remove);
        dropped[name] += gone.dropped;
        dropped.kept += gone.kept;
      }
    }
  }
  await moveSegment(client, segment.id, ['dropping'], 'archived');
  return dropped;
}

async function dropRows(
  client: ClientBase,
  clusterID: number,
  archived: readonly Row[],
  columns: readonly ArchivedColumn[],
  lock: typeof lockEvents,
  remove: typeof deleteEvents,
): Promise<{ dropped: number; kept: number }> {
  const texts = new Set(archived.map((row) => rowText(columns, row)));
  await client.query('begin');
  try {
    const stored = await lock(client, clusterID, archived);
    const same = stored.filter((row) => texts.has(rowText(columns, row)));
    await remove(client, clusterID, same);
    await addCandidates(client, clusterID, same);
    await client.query('commit');
    return { dropped: same.length, kept: stored.length - same.length };
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/** Bodies that may have lost the last row that refers to them. */
async function addCandidates(client: ClientBase, clusterID: number, rows: readonly Row[]): Promise<void> {
  const digests = new Map<string, Buffer>();
  for (const row of rows) {
    for (const stem of BODY_REFERENCES) {
      const digest = row[`${stem}_digest`] as Buffer | null | undefined;
      if (digest) digests.set(digest.toString('hex'), digest);
    }
  }
  if (digests.size === 0) return;
  await client.query(
    `insert into body_candidates (cluster_id, digest) select $1, d from unnest($2::bytea[]) as d on conflict do nothing`,
    [clusterID, [...digests.values()]],
  );
}
