import { type Kysely, sql } from 'kysely';
import type { Database } from '../schema.js';
import type { Trouble } from '../source-objects.js';

/** How a source stands, beside its health (store/queries/sources.ts). */
export interface SourceStatus {
  name: string;
  location: {
    bucket: string;
    prefix: string;
    region: string | null;
    endpoint: string | null;
    format: string;
    roleARN: string | null;
    profile: string | null;
    queueURL: string | null;
  } | null;
  /** How many objects are in each state; none of a state is absent. */
  objects: Record<string, number>;
  /** Records of them that are no audit events, and events of which only a part could be read. */
  skipped: string;
  salvaged: string;
  /** Of those that wait: when the oldest was written, and when the next is tried again. */
  oldest_waiting_at: string | null;
  next_retry_at: string | null;
  listing: {
    pass: 'full' | 'recent' | null;
    keys: number;
    afterKey: string | null;
    listedAt: string | null;
    fullListedAt: string | null;
    dueAt: string;
    error: Trouble | null;
    errorAt: string | null;
  } | null;
  queue: { polledAt: string | null; error: Trouble | null; errorAt: string | null } | null;
  last_error: { key: string; state: string; attempts: number; at: string; error: Trouble } | null;
}

/** RFC 3339 in UTC, for times inside JSON: Postgres would write them with an offset. */
const utc = (column: string) =>
  sql.raw(`to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`);

/** The status of every source, or of one, by name. Counts go over all of its objects. */
export async function findSourceStatus(db: Kysely<Database>, name?: string): Promise<SourceStatus[]> {
  const { rows } = await sql<SourceStatus>`
    select s.name,
           case when l.source_id is null then null else json_build_object(
             'bucket', l.bucket, 'prefix', l.prefix, 'region', l.region, 'endpoint', l.endpoint, 'format', l.format,
             'roleARN', l.role_arn, 'profile', l.profile, 'queueURL', l.sqs_queue_url) end as location,
           coalesce(o.objects, '{}') as objects, coalesce(o.skipped, 0) as skipped,
           coalesce(o.salvaged, 0) as salvaged, w.oldest_waiting_at, r.next_retry_at,
           case when c.id is null then null else json_build_object(
             'pass', c.pass, 'keys', c.keys, 'afterKey', c.after_key, 'listedAt', ${utc('c.listed_at')},
             'fullListedAt', ${utc('c.full_listed_at')}, 'dueAt', ${utc('c.due_at')}, 'error', c.error,
             'errorAt', ${utc('c.error_at')}) end as listing,
           case when l.sqs_queue_url is null then null else json_build_object(
             'polledAt', ${utc('l.queue_polled_at')}, 'error', l.queue_error, 'errorAt', ${utc('l.queue_error_at')}) end as queue,
           e.last_error
      from sources s
      left join s3_locations l on l.source_id = s.id
      left join s3_scans c on c.source_id = s.id and c.kind = 'follow'
      left join lateral (
        select json_object_agg(state, count) as objects, sum(skipped) as skipped, sum(salvaged) as salvaged from (
          select state, count(*), sum(skipped) as skipped, sum(salvaged) as salvaged from source_objects
           where cluster_id = s.cluster_id and source_id = s.id group by state) counted) o on true
      left join lateral (
        select min(oldest.last_modified) as oldest_waiting_at
          from unnest('{new,leased,failed}'::text[]) as u (state)
          cross join lateral (
            select last_modified from source_objects
             where cluster_id = s.cluster_id and source_id = s.id and state = u.state
             order by last_modified limit 1) oldest) w on true
      left join lateral (
        select min(due_at) as next_retry_at from source_objects
         where cluster_id = s.cluster_id and source_id = s.id and state = 'failed') r on true
      left join lateral (
        select json_build_object('key', key, 'state', state, 'attempts', attempts, 'at', ${utc('error_at')}, 'error', error) as last_error
          from source_objects
         where cluster_id = s.cluster_id and source_id = s.id and state in ('failed', 'damaged', 'leased') and error is not null
         order by error_at desc limit 1) e on true
     where ${name === undefined ? sql`true` : sql`s.name = ${name}`}
     order by s.name`.execute(db);
  return rows;
}
