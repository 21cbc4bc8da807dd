import { type Kysely, sql } from 'kysely';
import type { Database } from '../schema.js';
import type { Trouble } from '../source-objects.js';

export interface Backfill {
  id: number;
  source: string;
  cluster: string;
  bucket: string;
  prefix: string;
  since: string | null;
  until: string | null;
  created_at: string;
  cancelled: boolean;
  listed: boolean;
  /** Keys that the listing has looked at so far, and the last of them. */
  keys: string;
  after_key: string | null;
  error: Trouble | null;
  /** Objects by state. */
  objects: Record<string, number>;
  /** Of all objects found, and of what has been read of them. */
  bytes: string;
  bytes_read: string;
  events: string;
  stored: string;
  quarantined: string;
  last_error: Trouble | null;
  next_retry_at: string | null;
}

/** Backfills with their progress, the newest first: one, or all of the last hundred. */
export async function findBackfills(db: Kysely<Database>, id?: number): Promise<Backfill[]> {
  const { rows } = await sql<Backfill>`
    select c.id, s.name as source, k.name as cluster, l.bucket, l.prefix, c.since, c.until, c.created_at,
           c.state = 'cancelled' as cancelled, c.state = 'listed' as listed, c.keys, c.after_key, c.error,
           coalesce(o.objects, '{}') as objects, coalesce(o.bytes, 0) as bytes, coalesce(o.bytes_read, 0) as bytes_read,
           coalesce(o.events, 0) as events, coalesce(o.stored, 0) as stored, coalesce(o.quarantined, 0) as quarantined,
           e.error as last_error, o.next_retry_at
      from s3_scans c
      join sources s on s.id = c.source_id
      join clusters k on k.id = s.cluster_id
      join s3_locations l on l.source_id = s.id
      left join lateral (
        select json_object_agg(state, count) as objects, sum(bytes) as bytes, sum(bytes_read) as bytes_read, sum(events) as events,
               sum(stored) as stored, sum(quarantined) as quarantined, min(retry) as next_retry_at
          from (select state, count(*) as count, sum(coalesce(size, 0)) as bytes,
                       sum(case when state in ('new', 'leased', 'failed') then least(position, coalesce(size, 0)) else coalesce(size, 0) end) as bytes_read,
                       sum(events) as events, sum(stored) as stored, sum(quarantined) as quarantined,
                       min(due_at) filter (where state = 'failed') as retry
                  from source_objects where cluster_id = s.cluster_id and scan_id = c.id group by state) by_state) o on true
      left join lateral (
        select error from source_objects
         where cluster_id = s.cluster_id and scan_id = c.id and state = 'failed' order by error_at desc limit 1) e on true
     where c.kind = 'backfill' and ${id === undefined ? sql`true` : sql`c.id = ${id}`}
     order by c.id desc limit 100`.execute(db);
  return rows;
}

/**
 * Begins a backfill of a source, or finds the one of the same range that is not finished: asking for it again resumes
 * it. Returns its id.
 */
export async function startBackfill(
  db: Kysely<Database>,
  source: { id: number; clusterID: number },
  range: { since: string | null; until: string | null },
): Promise<{ id: number; resumed: boolean }> {
  return db.transaction().execute(async (transaction) => {
    await sql`select 1 from sources where id = ${source.id} for update`.execute(transaction);
    const { rows: running } = await sql<{ id: number }>`
      select c.id from s3_scans c
       where c.source_id = ${source.id} and c.kind = 'backfill' and c.state <> 'cancelled'
         and c.since is not distinct from ${range.since}::timestamptz and c.until is not distinct from ${range.until}::timestamptz
         and (c.state = 'active' or exists (
           select 1 from source_objects where cluster_id = ${source.clusterID} and scan_id = c.id and state in ('new', 'leased', 'failed')))
       order by c.id desc limit 1`.execute(transaction);
    if (running[0]) return { id: running[0].id, resumed: true };
    const { rows } = await sql<{ id: number }>`
      insert into s3_scans (source_id, kind, since, until)
      values (${source.id}, 'backfill', ${range.since}, ${range.until}) returning id`.execute(transaction);
    return { id: rows[0]!.id, resumed: false };
  });
}

/** Ends a backfill: what it found and is unread is not read for it. What was read stays. */
export async function cancelBackfill(db: Kysely<Database>, id: number): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    const { rows } = await sql<{ cluster_id: number }>`
      update s3_scans c set state = 'cancelled', lease_token = null, lease_owner = null
        from sources s where c.id = ${id} and c.kind = 'backfill' and s.id = c.source_id returning s.cluster_id`.execute(
      transaction,
    );
    if (!rows[0]) return;
    // A source that is followed finds them again by itself.
    await sql`delete from source_objects
               where cluster_id = ${rows[0].cluster_id} and scan_id = ${id} and state in ('new', 'failed') and stored = 0`.execute(
      transaction,
    );
  });
}

/** The s3 source of a cluster that holds a location: the same bucket, and the same prefix. */
export async function findS3SourceAt(
  db: Kysely<Database>,
  location: { cluster: string; bucket: string; prefix: string },
): Promise<string | undefined> {
  const { rows } = await sql<{ name: string }>`
    select s.name from sources s
      join clusters k on k.id = s.cluster_id and k.name = ${location.cluster}
      join s3_locations l on l.source_id = s.id and l.bucket = ${location.bucket} and l.prefix = ${location.prefix}
     where s.disabled_at is null order by s.id limit 1`.execute(db);
  return rows[0]?.name;
}
