import type { Pool } from 'pg';
import type { EventClass } from '../../core/vocabulary.js';
import { preparedText } from '../prepared.js';
import { ELSEWHERE, findSegments, isElsewhere, type Segment } from './segments.js';

/** What a question reaches: of these clusters, this time (RFC 3339, half-open) and these classes; undefined: all. */
export interface Reach {
  clusterIDs: readonly number[] | undefined;
  since: string | undefined;
  until: string | undefined;
  classes: readonly EventClass[] | undefined;
}

type Queryable = Pick<Pool, 'query'>;

const REACHED = `($1::integer[] is null or cluster_id = any($1)) and ($2::timestamptz is null or until > $2)
      and ($3::timestamptz is null or since < $3) and ($4::event_class[] is null or classes && $4::event_class[])`;

function valuesOf({ clusterIDs, since, until, classes }: Reach): unknown[] {
  return [clusterIDs ?? null, since ?? null, until ?? null, classes ?? null];
}

/** Segments that a question about a time reaches. */
export function findReached(client: Queryable, reach: Reach): Promise<Segment[]> {
  return findSegments(client as Pool, REACHED, valuesOf(reach));
}

/** Segments that tell of an object: of its whole history. */
export function findSegmentsOfObject(
  client: Queryable,
  clusterID: number,
  objectID: string,
): Promise<Segment[]> {
  return findSegments(
    client as Pool,
    `cluster_id = $1 and id in (select segment_id from archive_objects where cluster_id = $1 and object_id = $2)`,
    [clusterID, objectID],
  );
}

/** Those that may hold what an object was at a time: a version that is newer than the last one before it in the database. */
export function findSegmentsOfState(
  client: Queryable,
  clusterID: number,
  objectID: string,
  at: string,
): Promise<Segment[]> {
  return findSegments(
    client as Pool,
    `cluster_id = $1 and id in (select segment_id from archive_objects where cluster_id = $1 and object_id = $2)
      and since <= $3
      and until > coalesce((select at from changes where cluster_id = $1 and object_id = $2 and after_certainty is not null
                               and at <= $3 order by at desc limit 1), '-infinity')`,
    [clusterID, objectID, at],
  );
}

/** The end of the newest segment that isn't in the database now, of what a question reaches. */
export async function findArchivedUntil(client: Queryable, reach: Reach): Promise<string | undefined> {
  const { rows } = await client.query<{ until: string | null }>(
    preparedText(
      `select max(until) as until from archive_segments where ${REACHED} and state = any($5::text[])`,
    ),
    [...valuesOf(reach), ELSEWHERE],
  );
  return rows[0]?.until ?? undefined;
}

async function findElsewhere(client: Queryable, reach: Reach): Promise<Segment[]> {
  return (await findReached(client, reach)).filter(isElsewhere);
}

/** How many events lie in segments that a question reaches and that aren't in the database now. */
export async function countUnread(client: Queryable, reach: Reach): Promise<number> {
  return (await findElsewhere(client, reach)).reduce((sum, { events }) => sum + events, 0);
}

/** What of a question lies in the archive now: of which classes, and from when on nothing does. Undefined: nothing. */
export async function findUnread(
  client: Queryable,
  reach: Reach,
): Promise<{ before: string; classes: EventClass[] } | undefined> {
  const segments = await findElsewhere(client, reach);
  const before = segments
    .map(({ until }) => until)
    .sort()
    .at(-1);
  if (before === undefined) return undefined;
  return { before, classes: [...new Set(segments.flatMap(({ classes }) => classes))].sort() };
}
