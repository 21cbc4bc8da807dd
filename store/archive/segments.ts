import type { ClientBase } from 'pg';
import type { EventClass } from '../../core/vocabulary.js';
import { preparedText } from '../prepared.js';

type Queryable = Pick<ClientBase, 'query'>;

export type SegmentState = 'written' | 'verified' | 'dropping' | 'archived' | 'loading' | 'loaded';
/** In them, rows are not all in the database. */
export const ELSEWHERE: readonly SegmentState[] = ['archived', 'loading', 'dropping'];

export function isElsewhere({ state }: Pick<Segment, 'state'>): boolean {
  return ELSEWHERE.includes(state);
}

/** One file of a segment, as it was written. */
export interface SegmentFile {
  rows: number;
  bytes: number;
  /** SHA-256 of the file, hex. */
  sha256: string;
  /** SHA-256 over its rows as the database held them, hex (store/archive/segment-files.ts). */
  rowsSha256: string;
}

export interface SegmentFiles {
  events: SegmentFile;
  changes: SegmentFile;
  bodies: SegmentFile;
}

/** Events of one cluster that lie in the archive, or are on their way there (migrations/012-retention.sql). */
export interface Segment {
  id: string;
  clusterID: number;
  classes: EventClass[];
  /** RFC 3339, half-open. */
  since: string;
  until: string;
  key: string;
  state: SegmentState;
  events: number;
  changes: number;
  bodies: number;
  seqFrom: number;
  seqTo: number;
  files: SegmentFiles;
  createdAt: string;
  verifiedAt: string | null;
  askedUntil: string | null;
  error: string | null;
}

interface SegmentRow {
  id: string;
  cluster_id: number;
  classes: EventClass[];
  since: string;
  until: string;
  key: string;
  state: SegmentState;
  events: string;
  changes: string;
  bodies: string;
  seq_from: string;
  seq_to: string;
  files: SegmentFiles;
  created_at: string;
  verified_at: string | null;
  asked_until: string | null;
  error: string | null;
}

const COLUMNS = `id, cluster_id, classes::text[] as classes, since, until, key, state, events, changes, bodies, seq_from, seq_to,
  files, created_at, verified_at, asked_until, error`;

function segmentOf(row: SegmentRow): Segment {
  return {
    id: row.id,
    clusterID: row.cluster_id,
    classes: row.classes,
    since: row.since,
    until: row.until,
    key: row.key,
    state: row.state,
    events: Number(row.events),
    changes: Number(row.changes),
    bodies: Number(row.bodies),
    seqFrom: Number(row.seq_from),
    seqTo: Number(row.seq_to),
    files: row.files,
    createdAt: row.created_at,
    verifiedAt: row.verified_at,
    askedUntil: row.asked_until,
    error: row.error,
  };
}

/** Segments that meet a condition on `archive_segments s`, in the order of time. */
export async function findSegments(
  client: Queryable,
  condition: string,
  values: unknown[],
  limit = 100_000,
): Promise<Segment[]> {
  const { rows } = await client.query<SegmentRow>(
    // Each question of the API asks it first, and planning it takes longer than running it.
    preparedText(
      `select ${COLUMNS} from archive_segments s where ${condition} order by since, id limit $${values.length + 1}`,
    ),
    [...values, limit],
  );
  return rows.map(segmentOf);
}

export type NewSegment = Omit<Segment, 'id' | 'state' | 'createdAt' | 'verifiedAt' | 'askedUntil' | 'error'>;

/** Records a segment whose files lie in the archive, with the objects that it tells of. */
export async function insertSegment(
  client: Queryable,
  segment: NewSegment,
  objectIDs: readonly string[],
): Promise<void> {
  await client.query(
    `with s as (
       insert into archive_segments (cluster_id, classes, since, until, key, state, events, changes, bodies, seq_from, seq_to, files)
       values ($1, $2::event_class[], $3, $4, $5, 'written', $6, $7, $8, $9, $10, $11) returning id)
     insert into archive_objects (cluster_id, object_id, segment_id)
     select $1, o.id, s.id from s, unnest($12::uuid[]) as o (id)`,
    [
      segment.clusterID,
      segment.classes,
      segment.since,
      segment.until,
      segment.key,
      segment.events,
      segment.changes,
      segment.bodies,
      segment.seqFrom,
      segment.seqTo,
      JSON.stringify(segment.files),
      objectIDs,
    ],
  );
}

/**
 * Takes a segment a step on, where it still is where it was believed to be; says whether it was. Rows that a question
 * needs (`asked_until`) aren't begun to be dropped.
 */
export async function moveSegment(
  client: Queryable,
  id: string,
  from: readonly SegmentState[],
  to: SegmentState,
): Promise<boolean> {
  const { rowCount } = await client.query(
    `update archive_segments set state = $3, state_at = now(), error = null,
            verified_at = case when $3 = 'verified' then now() else verified_at end
      where id = $1 and state = any($2::text[]) and ($3 <> 'dropping' or asked_until is null or asked_until < now())`,
    [id, from, to],
  );
  return rowCount === 1;
}

export async function recordSegmentError(client: Queryable, id: string, error: string): Promise<void> {
  await client.query('update archive_segments set error = $2 where id = $1', [id, error.slice(0, 1000)]);
}

/** Forgets a segment that nothing was dropped by. Its files stay where they lie. */
export async function removeSegment(client: Queryable, id: string): Promise<void> {
  await client.query(
    `with gone as (delete from archive_segments where id = $1 and state = 'written' returning cluster_id, id)
     delete from archive_objects o using gone where o.cluster_id = gone.cluster_id and o.segment_id = gone.id`,
    [id],
  );
}

/** The rows that a question needs must stay for a while, in whatever state their segments are. */
export async function askForSegments(
  client: Queryable,
  ids: readonly string[],
  seconds: number,
): Promise<void> {
  await client.query(
    `update archive_segments set asked_until = now() + $2 * interval '1 second'
      where id = any($1::bigint[]) and (asked_until is null or asked_until < now() + $2 / 2 * interval '1 second')`,
    [ids, seconds],
  );
}

/** Segments of one cluster in one state. */
export interface SegmentTotals {
  cluster: string;
  state: SegmentState;
  segments: number;
  events: number;
  bytes: number;
  since: string;
  until: string;
  error: string | null;
}

export async function findSegmentTotals(client: Queryable): Promise<SegmentTotals[]> {
  const { rows } = await client.query<
    Record<'events' | 'bytes', string> & Omit<SegmentTotals, 'events' | 'bytes'>
  >(
    `select k.name as cluster, s.state, count(*)::int as segments, sum(s.events) as events, min(s.since) as since,
            max(s.until) as until, max(s.error) as error,
            sum((s.files->'events'->>'bytes')::bigint + (s.files->'changes'->>'bytes')::bigint
                + (s.files->'bodies'->>'bytes')::bigint) as bytes
       from archive_segments s join clusters k on k.id = s.cluster_id group by k.name, s.state order by k.name, s.state`,
  );
  return rows.map((row) => ({ ...row, events: Number(row.events), bytes: Number(row.bytes) }));
}
