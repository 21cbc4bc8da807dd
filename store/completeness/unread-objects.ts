import type { ClientBase } from 'pg';
import { parseMicros } from '../../core/timestamp.js';
import type { FoundGap } from './gaps.js';

/** An object that waits for so long is behind; one that waits for less is on its way. */
const WAITS = `interval '1 hour'`;
/** Log shippers write an object at most so long after its first event: AKS by the hour, Firehose and CloudWatch sooner. */
const SPAN = `interval '1 hour'`;
/** A listing that has failed for so long is no hiccup. */
const UNLISTED = `interval '15 minutes'`;

interface UnreadRow {
  source_id: number;
  subject: string;
  since: string;
  until: string;
  evidence: Record<string, unknown>;
}

/**
 * What lies in a cluster's buckets and is not here: objects that fail to be read, wait for long, or were deleted before
 * they were read, gathered by source and the hour in which they were written; and buckets that can't be listed. How many
 * events that is nobody can tell.
 */
export async function findUnreadObjects(
  client: ClientBase,
  clusterID: number,
  now: Date,
): Promise<FoundGap[]> {
  const { rows } = await client.query<UnreadRow>(
    `with unread as (
       select s.id as source_id, o.key, o.last_modified, o.code, o.state
         from sources s
        cross join lateral (
          select key, last_modified, error->>'code' as code, case when error is null then 'waiting' else 'failed' end as state
            from source_objects
           where cluster_id = $1 and source_id = s.id and state in ('new', 'leased', 'failed') and bucket <> ''
             and (error is not null or found_at < $2::timestamptz - ${WAITS})
          union all
          select key, last_modified, error->>'code', 'gone'
            from source_objects where cluster_id = $1 and source_id = s.id and state = 'gone' and bucket <> '') o
        where s.cluster_id = $1 and s.kind = 's3')
     select source_id, to_char(date_trunc('hour', last_modified, 'UTC') at time zone 'UTC', 'YYYY-MM-DD"T"HH24"Z"') as subject,
            min(last_modified) - ${SPAN} as since, max(last_modified) as until,
            jsonb_build_object(
              'objects', count(*), 'failed', count(*) filter (where state = 'failed'),
              'waiting', count(*) filter (where state = 'waiting'), 'gone', count(*) filter (where state = 'gone'),
              'codes', coalesce(jsonb_agg(distinct code) filter (where code is not null), '[]'),
              'keys', to_jsonb((array_agg(key order by last_modified, key))[1:5])) as evidence
       from unread group by 1, 2
     union all
     select c.source_id, 'listing', coalesce(c.listed_at, c.created_at), $2, jsonb_build_object('listing', c.error->>'code')
       from s3_scans c join sources s on s.id = c.source_id
      where s.cluster_id = $1 and s.disabled_at is null and c.kind = 'follow' and c.state = 'active' and c.error is not null
        and coalesce(c.listed_at, c.created_at) < $2::timestamptz - ${UNLISTED}`,
    [clusterID, now],
  );
  return rows.map((row) => ({
    sourceID: row.source_id,
    subject: row.subject,
    since: parseMicros(row.since)!,
    until: parseMicros(row.until)! + 1,
    evidence: row.evidence,
  }));
}
