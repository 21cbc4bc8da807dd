import type { ClientBase, Pool } from 'pg';

/** What went wrong with an object, a listing or a queue: for people, without secrets. */
export interface Trouble {
  /** For scripts and metrics: access_denied, no_such_bucket, throttled, damaged, ... */
  code: string;
  message: string;
  hint?: string;
}

/** How far a reading has come. Totals of the running attempt, so that the same report twice counts once. */
export interface ObjectProgress {
  /** Bytes of the object that have been read. */
  position: number;
  events: number;
  quarantined: number;
  skipped: number;
  salvaged: number;
}

/** What of an object a batch holds: its row moves in the transaction that stores the events. */
export interface ObjectPart {
  id: string;
  leaseToken: string;
  leaseSeconds: number;
  progress: ObjectProgress;
  /** With the last part: how it ended. */
  end?: { state: 'done' | 'damaged'; trouble?: Trouble | undefined; versionID?: string | undefined };
}

export interface AdvancedPart {
  part: ObjectPart;
  /** Events that were new. */
  stored: number;
  /** Their numbers: [from, to). */
  seq: { from: number; to: number } | undefined;
}

/**
 * Notes what objects gave, within the transaction that stores it: their progress, their end, and which numbers of the
 * events came from them. Returns the ids of those whose lease is still held; of the others only the origin of the
 * events is noted, since somebody else reads them now.
 */
export async function advanceObjects(
  client: ClientBase,
  clusterID: number,
  parts: AdvancedPart[],
): Promise<Set<string>> {
  if (parts.length === 0) return new Set();
  const origins = parts.filter((item) => item.seq !== undefined);
  if (origins.length > 0) {
    await client.query({
      name: 'object-parts',
      text: `insert into source_object_parts (cluster_id, seq_from, seq_to, object_id)
             select $1, * from unnest($2::bigint[], $3::bigint[], $4::bigint[])`,
      values: [
        clusterID,
        origins.map(({ seq }) => seq!.from),
        origins.map(({ seq }) => seq!.to),
        origins.map(({ part }) => part.id),
      ],
    });
  }
  const rows = [...latest(parts).values()];
  const { rows: held } = await client.query<{ id: string }>({
    name: 'advance-objects',
    text: `update source_objects o set
             -- Parts may land in another order than they were read in; the end comes last, and is exact.
             position = greatest(p.position, case when p.state is null then o.position end),
             events = greatest(p.events, case when p.state is null then o.events end),
             quarantined = greatest(p.quarantined, case when p.state is null then o.quarantined end),
             skipped = greatest(p.skipped, case when p.state is null then o.skipped end),
             salvaged = greatest(p.salvaged, case when p.state is null then o.salvaged end), stored = o.stored + p.stored,
             state = coalesce(p.state, o.state), due_at = now() + p.lease_seconds * interval '1 second',
             finished_at = case when p.state is null then null else now() end,
             lease_token = case when p.state is null then o.lease_token end,
             lease_owner = case when p.state is null then o.lease_owner end,
             version_id = coalesce(p.version_id, o.version_id),
             error = case when p.state is null then o.error else p.error end,
             error_at = case when p.state is null then o.error_at when p.error is null then null else now() end
           from unnest($2::bigint[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                       $9::bigint[], $10::integer[], $11::text[], $12::text[], $13::jsonb[])
                as p (id, token, position, events, quarantined, skipped, salvaged, stored, lease_seconds, state, version_id, error)
           where o.cluster_id = $1 and o.id = p.id and o.lease_token = p.token
           returning o.id`,
    values: [
      clusterID,
      rows.map(({ part }) => part.id),
      rows.map(({ part }) => part.leaseToken),
      rows.map(({ part }) => part.progress.position),
      rows.map(({ part }) => part.progress.events),
      rows.map(({ part }) => part.progress.quarantined),
      rows.map(({ part }) => part.progress.skipped),
      rows.map(({ part }) => part.progress.salvaged),
      rows.map(({ stored }) => stored),
      rows.map(({ part }) => part.leaseSeconds),
      rows.map(({ part }) => part.end?.state ?? null),
      rows.map(({ part }) => part.end?.versionID ?? null),
      rows.map(({ part }) => (part.end?.trouble ? JSON.stringify(part.end.trouble) : null)),
    ],
  });
  const ids = new Set(held.map((row) => row.id));
  await countStored(
    client,
    clusterID,
    rows.filter(({ part }) => !ids.has(part.id)),
  );
  return ids;
}

/** Of objects that somebody else reads by now: for whom these events will be duplicates. */
async function countStored(client: ClientBase, clusterID: number, parts: AdvancedPart[]): Promise<void> {
  if (parts.length === 0) return;
  await client.query({
    name: 'count-stored',
    text: `update source_objects o set stored = o.stored + p.stored from unnest($2::bigint[], $3::bigint[]) as p (id, stored)
            where o.cluster_id = $1 and o.id = p.id`,
    values: [clusterID, parts.map(({ part }) => part.id), parts.map(({ stored }) => stored)],
  });
}

/** The last part of each object, with what all of its parts stored: a row can be updated once in a statement. */
function latest(parts: AdvancedPart[]): Map<string, AdvancedPart> {
  const byObject = new Map<string, AdvancedPart>();
  for (const item of parts) {
    const before = byObject.get(item.part.id);
    byObject.set(item.part.id, { ...item, stored: item.stored + (before?.stored ?? 0) });
  }
  return byObject;
}

/** An object that this process may read until its lease ends. */
export interface LeasedObject {
  id: string;
  sourceID: number;
  clusterID: number;
  bucket: string;
  key: string;
  etag: string;
  size: number | null;
  /** From 1 on; this one included. */
  attempt: number;
  leaseToken: string;
  /** Somebody held it before, and didn't come back. */
  expired: boolean;
}

interface LeasedRow {
  id: string;
  bucket: string;
  key: string;
  etag: string;
  size: string | null;
  attempts: number;
  lease_token: string;
  expired: boolean;
}

/** Takes objects of a source that are due: those that follow it before those of backfills, the longest due first. */
export async function leaseObjects(
  pool: Pool,
  source: { sourceID: number; clusterID: number },
  lease: { owner: string; seconds: number; limit: number },
): Promise<LeasedObject[]> {
  const { rows } = await pool.query<LeasedRow>({
    name: 'lease-objects',
    text: `with due as (
             select id, state from source_objects
              where cluster_id = $1 and source_id = $2 and state in ('new', 'leased', 'failed') and due_at <= now() and bucket <> ''
              order by (scan_id is not null), due_at limit $3 for update skip locked)
           update source_objects o set
             state = 'leased', lease_owner = $4, lease_token = gen_random_uuid(), due_at = now() + $5 * interval '1 second',
             attempts = o.attempts + 1, started_at = now(), finished_at = null,
             position = 0, events = 0, quarantined = 0, skipped = 0, salvaged = 0
           from due where o.cluster_id = $1 and o.id = due.id
           returning o.id, o.bucket, o.key, o.etag, o.size, o.attempts, o.lease_token, due.state = 'leased' as expired`,
    values: [source.clusterID, source.sourceID, lease.limit, lease.owner, lease.seconds],
  });
  return rows.map((row) => ({
    id: row.id,
    ...source,
    bucket: row.bucket,
    key: row.key,
    etag: row.etag,
    size: row.size === null ? null : Number(row.size),
    attempt: row.attempts,
    leaseToken: row.lease_token,
    expired: row.expired,
  }));
}

type Held = Pick<LeasedObject, 'id' | 'clusterID' | 'leaseToken'>;

/** Holds on to an object that takes its time. False: the lease was lost, and somebody else may be reading. */
export async function renewObject(pool: Pool, held: Held, seconds: number): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'renew-object',
    text: `update source_objects set due_at = now() + $4 * interval '1 second'
            where cluster_id = $1 and id = $2 and lease_token = $3`,
    values: [held.clusterID, held.id, held.leaseToken, seconds],
  });
  return rowCount === 1;
}

/**
 * Lets an object go that was not read to its end: it failed and is due again, it is gone, or it was replaced.
 * Nothing happens when the lease was lost.
 */
export async function releaseObject(
  pool: Pool,
  held: Held,
  outcome: { state: 'new' | 'failed' | 'gone' | 'replaced'; retrySeconds: number; trouble?: Trouble },
): Promise<void> {
  await pool.query({
    name: 'release-object',
    text: `update source_objects set
             state = $4::text, due_at = now() + $5 * interval '1 second', lease_token = null, lease_owner = null, finished_at = now(),
             -- A reading that was only interrupted is no failed attempt.
             attempts = case when $4::text = 'new' then attempts - 1 else attempts end,
             error = case when $4::text = 'new' then error else $6::jsonb end,
             error_at = case when $4::text = 'new' then error_at when $6::jsonb is null then null else now() end
            where cluster_id = $1 and id = $2 and lease_token = $3`,
    values: [
      held.clusterID,
      held.id,
      held.leaseToken,
      outcome.state,
      outcome.retrySeconds,
      outcome.trouble ? JSON.stringify(outcome.trouble) : null,
    ],
  });
}

/** An object as a listing or a notification tells of it. */
export interface FoundObject {
  key: string;
  etag: string;
  size: number;
  /** RFC 3339 */
  lastModified: string;
}

export interface Recorded {
  /** Rows that are new, or wait again. */
  added: number;
}

/**
 * Makes rows of objects that were found, in one statement whatever their number; those that are known stay as they are.
 * One that was deleted or replaced unread, and lies there again, waits again. `scanID` marks them as a backfill's.
 */
export async function recordObjects(
  client: Pool | ClientBase,
  source: { sourceID: number; clusterID: number; bucket: string },
  found: FoundObject[],
  scanID: number | null,
): Promise<Recorded> {
  if (found.length === 0) return { added: 0 };
  const distinct = [...new Map(found.map((item) => [`${item.etag} ${item.key}`, item])).values()];
  const { rows } = await client.query<{ added: string; revived: string }>({
    name: 'record-objects',
    // "offset 0" keeps it to one index probe for each key, whatever the statistics say.
    text: `with page as (
             select * from unnest($4::text[], $5::text[], $6::bigint[], $7::timestamptz[]) as p (key, etag, size, last_modified)),
           known as (
             select o.* from page p cross join lateral (
               select id, key, etag, state, scan_id from source_objects
                where cluster_id = $1 and source_id = $2 and key = p.key and etag = p.etag offset 0) o),
           revived as (
             update source_objects o set state = 'new', due_at = now(), attempts = 0, error = null, error_at = null, scan_id = $8
               from known k where o.cluster_id = $1 and o.id = k.id and k.state in ('gone', 'replaced') returning 1),
           adopted as (
             update source_objects o set scan_id = $8
               from known k where o.cluster_id = $1 and o.id = k.id and k.state not in ('gone', 'replaced')
                and $8::integer is not null and k.scan_id is distinct from $8 returning 1),
           added as (
             insert into source_objects (cluster_id, source_id, bucket, key, etag, size, last_modified, scan_id)
             select $1, $2, $3, p.key, p.etag, p.size, p.last_modified, $8 from page p
              where not exists (select from known k where k.key = p.key and k.etag = p.etag)
             on conflict do nothing returning 1)
           select (select count(*) from added) as added, (select count(*) from revived) as revived,
                  (select count(*) from adopted) as adopted`,
    values: [
      source.clusterID,
      source.sourceID,
      source.bucket,
      distinct.map((item) => item.key),
      distinct.map((item) => item.etag),
      distinct.map((item) => item.size),
      distinct.map((item) => item.lastModified),
      scanID,
    ],
  });
  return { added: Number(rows[0]!.added) + Number(rows[0]!.revived) };
}
