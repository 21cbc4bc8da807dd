import type { ClientBase } from 'pg';
import type { GapCause } from '../../core/completeness/gap.js';
import { formatMicros } from '../../core/timestamp.js';

export interface FoundGap {
  sourceID: number;
  /** What it is about; the same subject again is the same gap. */
  subject: string;
  since: number;
  until: number;
  expected?: number | undefined;
  received?: number | undefined;
  missing?: number | undefined;
  evidence: Record<string, unknown>;
}

/** A stretch of time has a length in Postgres' microseconds. */
function end({ since, until }: { since: number; until: number }): string {
  return formatMicros(Math.max(until, since + 1));
}

/**
 * Makes the open gaps of one cause what was found now: new ones are opened, known ones brought up to date (also one that
 * had been closed), and open ones that were not found again are closed for `reason`. Only those are touched that overlap
 * `scope`.
 */
export async function reconcileGaps(
  client: ClientBase,
  clusterID: number,
  cause: GapCause,
  found: readonly FoundGap[],
  scope: { sourceID?: number; since: number },
  reason: string,
  now: Date,
): Promise<void> {
  await client.query(
    `with found as (
       select * from unnest($3::integer[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::bigint[], $8::bigint[],
                            $9::bigint[], $10::jsonb[])
                as f (source_id, subject, since, until, expected, received, missing, evidence)),
     closed as (
       update gaps g set state = 'closed', closed_at = $11, closed_reason = $12, evaluated_at = $11
        where g.cluster_id = $1 and g.cause = $2 and g.state = 'open' and g.until > $13
          and ($14::integer is null or g.source_id = $14)
          and not exists (select from found f where f.source_id = g.source_id and f.subject = g.subject))
     insert into gaps as g (cluster_id, source_id, cause, subject, since, until, expected, received, missing, evidence,
                            opened_at, evaluated_at)
     select $1, source_id, $2, subject, since, until, expected, received, missing, evidence, $11, $11 from found
     on conflict (cluster_id, source_id, cause, subject) do update
        set since = excluded.since, until = excluded.until, expected = excluded.expected, received = excluded.received,
            missing = excluded.missing, evidence = excluded.evidence, evaluated_at = excluded.evaluated_at,
            state = 'open', closed_at = null, closed_reason = null
      where (g.state, g.since, g.until, g.expected, g.received, g.missing, g.evidence) is distinct from
            ('open'::gap_state, excluded.since, excluded.until, excluded.expected, excluded.received, excluded.missing, excluded.evidence)`,
    [
      clusterID,
      cause,
      found.map((gap) => gap.sourceID),
      found.map((gap) => gap.subject),
      found.map((gap) => formatMicros(gap.since)),
      found.map(end),
      found.map((gap) => gap.expected ?? null),
      found.map((gap) => gap.received ?? null),
      found.map((gap) => gap.missing ?? null),
      found.map((gap) => JSON.stringify(gap.evidence)),
      now,
      reason,
      formatMicros(scope.since),
      scope.sourceID ?? null,
    ],
  );
}

export interface OpenGap {
  subject: string;
  since: string;
  until: string;
}

export async function findOpenGaps(
  client: ClientBase,
  clusterID: number,
  sourceID: number,
  cause: GapCause,
): Promise<OpenGap[]> {
  const { rows } = await client.query<OpenGap>(
    `select subject, since, until from gaps
      where cluster_id = $1 and source_id = $2 and cause = $3 and state = 'open' order by since`,
    [clusterID, sourceID, cause],
  );
  return rows;
}

/** Objects with a write missing before a change; a gap closes when the write has come late. */
export async function reconcileGenerationGaps(
  client: ClientBase,
  clusterID: number,
  now: Date,
): Promise<number> {
  const closed = await client.query(
    `update gaps g set state = 'closed', closed_at = $2, closed_reason = 'late_arrival', evaluated_at = $2
      where g.cluster_id = $1 and g.cause = 'generation_gap' and g.state = 'open'
        and not exists (select from changes c where c.cluster_id = $1 and c.change_id = g.change_id
                           and c.at = g.until and c.flags @> '{generation_gap}')`,
    [clusterID, now],
  );
  const opened = await client.query(
    `insert into gaps as g (cluster_id, source_id, cause, subject, since, until, missing, object_id, change_id, evidence,
                            opened_at, evaluated_at)
     select $1, c.source_id, 'generation_gap', c.change_id, least(p.at, c.at - interval '1 microsecond'), c.at,
            greatest(c.generation - p.generation - 1, 1), c.object_id, c.change_id,
            jsonb_build_object('generation', c.generation, 'generationBefore', p.generation, 'changeBefore', p.change_id),
            $2, $2
       from changes c
      cross join lateral (
        select v.at, v.generation, v.change_id from changes v
         where v.cluster_id = $1 and v.object_id = c.object_id and v.at <= c.at and v.change_id <> c.change_id
           and v.generation < c.generation and v.after_certainty is not null
         order by v.at desc limit 1) p
      where c.cluster_id = $1 and c.flags @> '{generation_gap}'
        and not exists (select from gaps k where k.cluster_id = $1 and k.source_id = c.source_id and k.cause = 'generation_gap'
                           and k.subject = c.change_id::text and k.state = 'open')
     on conflict (cluster_id, source_id, cause, subject) do update
        set state = 'open', closed_at = null, closed_reason = null, evaluated_at = excluded.evaluated_at,
            missing = excluded.missing, since = excluded.since, evidence = excluded.evidence`,
    [clusterID, now],
  );
  return (closed.rowCount ?? 0) + (opened.rowCount ?? 0);
}

/** An hour of a source, as the subject of a gap that gathers what is too much to list. */
const HOUR = (time: string) => `date_trunc('hour', ${time}, 'UTC')`;

/**
 * Changes whose bodies were cut off before they came here: by the apiserver for their size, or by who stored the log.
 * Gathered by source and hour. Returns the last seq looked at; undefined when there is nothing new.
 */
export async function appendTruncationGaps(
  client: ClientBase,
  clusterID: number,
  afterSeq: string,
  now: Date,
): Promise<string | undefined> {
  const { rows } = await client.query<{ last: string | null }>(
    `with new as (
       select source_id, ${HOUR('at')} as hour, at, seq, audit_id, class from events
        where cluster_id = $1 and own_annotations ? 'audit.k8s.io/truncated' and seq > $2),
     gathered as (
       select source_id, hour, count(*) as missing, min(at) as since, max(at) as until,
              to_jsonb((array_agg(audit_id order by at))[1:5]) as audit_ids
         from new where class in ('change', 'access', 'derived', 'status') group by source_id, hour),
     opened as (
       insert into gaps as g (cluster_id, source_id, cause, subject, since, until, missing, evidence, opened_at, evaluated_at)
       select $1, source_id, 'truncated', to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24"Z"'), since,
              until + interval '1 microsecond', missing, jsonb_build_object('auditIDs', audit_ids), $3, $3
         from gathered
       on conflict (cluster_id, source_id, cause, subject) do update
          set since = least(g.since, excluded.since), until = greatest(g.until, excluded.until),
              missing = g.missing + excluded.missing, evaluated_at = excluded.evaluated_at,
              evidence = jsonb_build_object('auditIDs',
                jsonb_path_query_array((g.evidence->'auditIDs') || (excluded.evidence->'auditIDs'), '$[0 to 4]')))
     select max(seq) as last from new`,
    [clusterID, afterSeq, now],
  );
  return rows[0]?.last ?? undefined;
}

/** Events that came and could not be accepted, by source and hour of arrival; replayed or dismissed ones don't count. */
export async function reconcileQuarantineGaps(
  client: ClientBase,
  clusterID: number,
  now: Date,
): Promise<number> {
  const { rowCount } = await client.query(
    `with hours as (
       select q.source_id, ${HOUR('q.first_received_at')} as hour, count(*) as missing, min(q.first_received_at) as since,
              max(q.first_received_at) as until, jsonb_object_agg(q.reason, true) as reasons
         from quarantine q join sources s on s.id = q.source_id
        where s.cluster_id = $1 and q.state = 'open' group by 1, 2),
     found as (
       select h.*, to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24"Z"') as subject,
              (select jsonb_agg(key order by key) from jsonb_each(reasons)) as names from hours h),
     closed as (
       update gaps g set state = 'closed', closed_at = $2, evaluated_at = $2,
              closed_reason = (
                select case when bool_or(q.state = 'dismissed') then 'dismissed' else 'replayed' end from quarantine q
                 where q.source_id = g.source_id and q.first_received_at >= g.since and q.first_received_at < g.until)
        where g.cluster_id = $1 and g.cause = 'quarantined' and g.state = 'open'
          and not exists (select from found f where f.source_id = g.source_id and f.subject = g.subject)
       returning 1)
     insert into gaps as g (cluster_id, source_id, cause, subject, since, until, missing, evidence, opened_at, evaluated_at)
     select $1, source_id, 'quarantined', subject, since, until + interval '1 microsecond', missing,
            jsonb_build_object('reasons', names), $2, $2 from found
     on conflict (cluster_id, source_id, cause, subject) do update
        set since = least(g.since, excluded.since), until = greatest(g.until, excluded.until), missing = excluded.missing,
            evidence = excluded.evidence, evaluated_at = excluded.evaluated_at,
            state = 'open', closed_at = null, closed_reason = null
      where g.state = 'closed' or g.missing <> excluded.missing or g.evidence <> excluded.evidence`,
    [clusterID, now],
  );
  return rowCount ?? 0;
}

/** What was feared to be lost while nothing could be received closes where the counters show that nothing was. */
export async function closeDisprovenGaps(client: ClientBase, clusterID: number, now: Date): Promise<number> {
  const { rowCount } = await client.query(
    `update gaps g set state = 'closed', closed_at = $2, closed_reason = 'counters_complete', evaluated_at = $2
      where g.cluster_id = $1 and g.state = 'open' and g.cause in ('receiver_down', 'batches_refused')
        and (select coalesce(bool_and(s.verdict = 'complete') and min(s.previous_until) <= g.since
                               and max(s.read_since) >= g.until, false)
               from counter_samples s
              where s.cluster_id = $1 and s.source_id = g.source_id
                and s.sampled_at > g.since - interval '1 hour' and s.sampled_at < g.until + interval '2 days'
                and s.read_until > g.since and s.previous_until < g.until)`,
    [clusterID, now],
  );
  return rowCount ?? 0;
}
