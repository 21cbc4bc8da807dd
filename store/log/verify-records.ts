import type { Kysely, RawBuilder } from 'kysely';
import type { ClientBase, Pool } from 'pg';
import { type LeafType, lateLeaf, leafHash } from '../../core/log/leaf.js';
import { TILE_WIDTH, tileKey } from '../../core/log/tiles.js';
import { formatMicros } from '../../core/timestamp.js';
import { streamRows } from '../queries/stream.js';
import type { Database } from '../schema.js';
import { tileLoader } from './sequence.js';

export type DamageKind = 'altered' | 'removed' | 'added' | 'reordered' | 'log_damaged' | 'archive_damaged';

/** A record that is not what the proof log says. */
export interface Damage {
  kind: DamageKind;
  type: LeafType;
  /** Empty where the record belongs to none. */
  cluster: string;
  seq: number;
  /** Its place in the log, where it has one. */
  index: number | undefined;
  detail: string;
}

/** Places of the log that hold consecutive numbers. */
export interface Run {
  firstIndex: number;
  firstSeq: number;
  count: number;
  /** When leaves were made for records that were stored long before, microseconds; null for all others. */
  lateAt: number | null;
}

const PROGRESS_ROWS = 10_000;

/** A row as the log knows it. */
export interface LoggedRow {
  seq: number;
  /** How a person finds it. */
  name: string;
  /** As in its leaf (core/log/leaf.ts). */
  origin: string;
  at: number;
  /** The digest that the row says it has. */
  digest: Buffer;
  /** The digest that its columns give now. */
  found: Buffer;
  /** What a column that is in no digest says against those that are; undefined where it fits them. */
  contradiction?: string | undefined;
}

/** Rows of one kind and cluster that have leaves. */
export interface LoggedRows<Row> {
  type: LeafType;
  /** `{id: 0, name: ''}` where the records belong to none. */
  cluster: { id: number; name: string };
  /** Every row, in the order of its number. */
  query: RawBuilder<Row>;
  read(row: Row): LoggedRow;
  /** Whether numbers are given in the order of commit; else one may turn up below others that have their places. */
  inCommitOrder: boolean;
}

/**
 * Compares every row with its leaf, in the order of its number: altered in any column, removed, added behind the log's
 * back, or given another number. Yields what is wrong, first to last; `progress` is told how many rows have been looked
 * at, `tellLate` of each record that is as its leaf says, with the time at which that leaf was made, if it is a late one.
 * Memory stays bounded.
 */
export async function* verifyRecords<Row>(
  pool: Pool,
  db: Kysely<Database>,
  logged: LoggedRows<Row>,
  progress: (rows: number) => void = () => undefined,
  tellLate: (madeAt: number) => void = () => undefined,
): AsyncGenerator<Damage> {
  const client = await pool.connect();
  try {
    const runs = await readRuns(client, logged.type, logged.cluster.id);
    // Through a cursor on a connection of its own, since tiles are asked for meanwhile.
    const rows = counted(streamRows(pool, db, [logged.query]), progress);
    const hasPlaceByNow = (seq: number) => isPlacedOrWaiting(client, logged.type, logged.cluster.id, seq);
    yield* compareRows(logged, rows, runs, leafReader(client), hasPlaceByNow, tellLate);
  } finally {
    client.release();
  }
}

async function* counted<Row>(
  rows: AsyncIterable<Row>,
  progress: (rows: number) => void,
): AsyncGenerator<Row> {
  let count = 0;
  for await (const row of rows) {
    yield row;
    if (++count % PROGRESS_ROWS === 0) progress(count);
  }
  progress(count);
}

/** Every run of one kind and cluster, in the order of numbers. */
export async function readRuns(client: ClientBase, type: LeafType, clusterID: number): Promise<Run[]> {
  const { rows } = await client.query<{
    first_index: string;
    first_seq: string;
    count: number;
    late_at: string | null;
  }>(
    `select first_index, first_seq, count, (extract(epoch from late_at) * 1000000)::bigint as late_at
       from log_runs where type = $1 and cluster_id = $2 order by first_seq`,
    [type, clusterID],
  );
  return rows.map((row) => ({
    firstIndex: Number(row.first_index),
    firstSeq: Number(row.first_seq),
    count: row.count,
    lateAt: row.late_at === null ? null : Number(row.late_at),
  }));
}

/** Whether a number has got a place since the runs were read, or waits for one. */
async function isPlacedOrWaiting(
  client: ClientBase,
  type: LeafType,
  clusterID: number,
  seq: number,
): Promise<boolean> {
  const { rowCount } = await client.query(
    `select from log_runs where type = $1 and cluster_id = $2 and first_seq <= $3 and first_seq + count > $3
     union all
     select from log_pending where type = $1 and cluster_id = $2 and first_seq <= $3
        and first_seq + octet_length(records) / 44 > $3`,
    [type, clusterID, seq],
  );
  return rowCount !== 0;
}

/** The stored hash of a leaf, its tiles read one at a time. */
export function leafReader(client: ClientBase): (index: number) => Promise<Buffer | undefined> {
  const load = tileLoader(client);
  let held: { index: number; hashes: Uint8Array | undefined } | undefined;
  return async (index) => {
    const tile = Math.floor(index / TILE_WIDTH);
    if (held?.index !== tile) {
      const ref = { level: 0, index: tile };
      held = { index: tile, hashes: (await load([ref])).get(tileKey(ref)) };
    }
    const at = (index % TILE_WIDTH) * 32;
    const hashes = held.hashes;
    return hashes && hashes.length >= at + 32 ? Buffer.from(hashes.subarray(at, at + 32)) : undefined;
  };
}

/** Walks rows and places side by side; both are in the order of their numbers. */
async function* compareRows<Row>(
  { type, cluster, read, inCommitOrder }: LoggedRows<Row>,
  rows: AsyncIterable<Row>,
  runs: readonly Run[],
  hashAt: (index: number) => Promise<Buffer | undefined>,
  hasPlaceByNow: (seq: number) => Promise<boolean>,
  tellLate: (madeAt: number) => void,
): AsyncGenerator<Damage> {
  // What was stored before its kind had leaves has lower numbers than all that had them from the start.
  const firstWithLeaf = runs.find(({ lateAt }) => lateAt === null)?.firstSeq ?? Number.POSITIVE_INFINITY;
  const damage = (kind: DamageKind, seq: number, index: number | undefined, detail: string): Damage => ({
    kind,
    type,
    cluster: cluster.name,
    seq,
    index,
    detail,
  });
  let run = 0;
  let offset = 0;
  /** Places up to a number that no row has. */
  function* missing(until: number): Generator<Damage> {
    while (run < runs.length) {
      const { firstSeq, firstIndex, count } = runs[run]!;
      if (offset === count) {
        run++;
        offset = 0;
        continue;
      }
      if (firstSeq + offset >= until) return;
      yield damage('removed', firstSeq + offset, firstIndex + offset, 'the log has it, the table has not');
      offset++;
    }
  }
  for await (const row of rows) {
    const { seq, name, origin, at, digest, found, contradiction } = read(row);
    yield* missing(seq);
    const place = runs[run];
    if (!place || place.firstSeq + offset !== seq) {
      // Rows that came while this goes on have got their places meanwhile.
      if ((inCommitOrder && run < runs.length) || !(await hasPlaceByNow(seq)))
        yield damage('added', seq, undefined, `the log has no place for ${name}`);
      continue;
    }
    const index = place.firstIndex + offset++;
    const stored = await hashAt(index);
    if (!stored) {
      yield damage('log_damaged', seq, index, 'the hash of its leaf is missing from the log');
      continue;
    }
    if (!found.equals(digest)) {
      yield damage('altered', seq, index, `${name}: its columns no longer give its digest`);
      continue;
    }
    const leaf = { type, cluster: cluster.name, origin, seq, at, digest };
    const { lateAt } = place;
    if (!leafHash(lateAt === null ? leaf : lateLeaf(leaf, lateAt)).equals(stored))
      yield damage('altered', seq, index, `${name}: it is not the record at place ${index} of the log`);
    else if (lateAt !== null && seq > firstWithLeaf)
      yield damage(
        'added',
        seq,
        index,
        `${name}: its leaf was made later, at ${formatMicros(lateAt)}, though such records had leaves by then`,
      );
    else if (contradiction !== undefined) yield damage('altered', seq, index, `${name}: ${contradiction}`);
    else if (lateAt !== null) tellLate(lateAt);
  }
  yield* missing(Number.POSITIVE_INFINITY);
}
