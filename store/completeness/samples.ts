import type { ClientBase } from 'pg';
import type { CounterSample, Interval } from '../../core/completeness/counters.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';

/** Around the moment that a counter is read, an event's time and its counting may differ by so much. */
const MARGIN = `interval '20 milliseconds'`;
/**
 * RequestReceived carries the time before authentication and is counted after it. It was counted for certain when a later
 * stage of its request had been, or when so much time has passed.
 */
const AUTHENTICATION = `interval '10 seconds'`;
/** Streams may run so long before their last event. */
const LONGEST_REQUEST = `interval '31 days'`;

export interface NewSample {
  sampledAt: Date;
  /** Microseconds of the apiserver's clock. */
  readSince: number;
  readUntil: number;
  auditID: string;
  answeredMs: number;
  processStartedAt: number;
  events: number;
  errors: Record<string, number>;
  rejected: number;
}

/** A stored sample. `sampledAt` is its key, as Postgres writes it. */
export interface StoredSample extends CounterSample {
  sampledAt: string;
  recountAt: string | null;
  verdict: Interval['verdict'];
}

export async function appendSample(
  client: ClientBase,
  clusterID: number,
  sourceID: number,
  sample: NewSample,
): Promise<void> {
  await client.query(
    `insert into counter_samples (cluster_id, source_id, sampled_at, read_since, read_until, audit_id, answered_ms,
                                  process_started_at, events, errors, rejected, recount_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $3) on conflict do nothing`,
    [
      clusterID,
      sourceID,
      sample.sampledAt,
      formatMicros(sample.readSince),
      formatMicros(sample.readUntil),
      sample.auditID,
      sample.answeredMs,
      formatMicros(sample.processStartedAt),
      sample.events,
      JSON.stringify(sample.errors),
      sample.rejected,
    ],
  );
}

/**
 * Where the policy logs our own requests for metrics, their audit events tell to the millisecond when the apiserver read
 * its counters. Samples that become sharper are to be counted again, and so are those that follow them.
 */
export async function anchorSamples(client: ClientBase, clusterID: number, since: Date): Promise<void> {
  const { rows } = await client.query<{ source_id: number; sampled_at: string }>(
    `update counter_samples c
        set anchored = true, read_since = e.at, read_until = e.at + c.answered_ms * interval '1 millisecond',
            recount_at = c.sampled_at
       from counter_samples s
      cross join lateral (
        select at from events
         where cluster_id = s.cluster_id and hashtext(audit_id) = hashtext(s.audit_id) and audit_id = s.audit_id
           and source_id = s.source_id and at > s.sampled_at - interval '1 hour' and at < s.sampled_at + interval '1 hour'
         limit 1) e
      where s.cluster_id = $1 and s.sampled_at > $2 and not s.anchored
        and c.cluster_id = s.cluster_id and c.source_id = s.source_id and c.sampled_at = s.sampled_at
     returning c.source_id, c.sampled_at`,
    [clusterID, since],
  );
  if (rows.length === 0) return;
  await client.query(
    `update counter_samples f set recount_at = f.sampled_at
       from unnest($2::integer[], $3::timestamptz[]) as a (source_id, sampled_at)
      where f.cluster_id = $1 and f.source_id = a.source_id
        and f.sampled_at = (select min(n.sampled_at) from counter_samples n
                             where n.cluster_id = $1 and n.source_id = a.source_id and n.sampled_at > a.sampled_at)`,
    [clusterID, rows.map((row) => row.source_id), rows.map((row) => row.sampled_at)],
  );
}

/** Sources of a cluster with samples that are due to be counted, and since when. */
export async function findSourcesToCount(
  client: ClientBase,
  clusterID: number,
  now: Date,
): Promise<Array<{ sourceID: number; since: string }>> {
  const { rows } = await client.query<{ source_id: number; since: string }>(
    `select source_id, min(sampled_at) as since from counter_samples
      where cluster_id = $1 and recount_at <= $2 group by source_id order by source_id`,
    [clusterID, now],
  );
  return rows.map((row) => ({ sourceID: row.source_id, since: row.since }));
}

/** Counts what was received around the samples that are due. `recountAt` is set by saveIntervals. */
export async function countReceived(
  client: ClientBase,
  clusterID: number,
  sourceID: number,
  now: Date,
): Promise<number> {
  const { rowCount } = await client.query(
    `with due as (
       select s.sampled_at, s.read_since, s.read_until, s.audit_id, p.read_until as previous_until,
              p.audit_id as previous_audit_id, coalesce(p.read_until, s.read_since - 2 * ${AUTHENTICATION}) as since,
              coalesce(p.read_since, s.read_since - 2 * ${AUTHENTICATION}) as earliest
         from counter_samples s
         left join lateral (
           select read_since, read_until, audit_id from counter_samples
            where cluster_id = $1 and source_id = $2 and sampled_at < s.sampled_at order by sampled_at desc limit 1) p on true
        where s.cluster_id = $1 and s.source_id = $2 and s.recount_at <= $3),
     counted as (
       select d.sampled_at, d.previous_until, r.certain, r.possible
         from due d
        cross join lateral (
          -- Copies of one stage are one event of the apiserver, however they differ. Of the request for the counters
          -- itself, the first stage was counted by then and the others were not: they belong to what comes next.
          select count(*) as possible, count(*) filter (where certain) as certain
            from (
              select bool_or(
                       e.audit_id in (d.audit_id, d.previous_audit_id)
                       or e.stage_at <= d.read_since - ${MARGIN}
                       and (e.stage <> 'RequestReceived' or e.stage_at <= d.read_since - ${AUTHENTICATION}
                            or exists (select from events t
                                        where t.cluster_id = $1 and t.at = e.at and t.request_id = e.request_id
                                          and t.source_id = $2 and t.stage <> 'RequestReceived'
                                          and t.stage_at <= d.read_since - ${MARGIN}))) as certain
                from events e
               where e.cluster_id = $1 and e.source_id = $2 and e.stage_at > d.earliest and e.stage_at <= d.read_until
                 and (e.stage_at > d.since or e.audit_id = d.previous_audit_id and e.stage <> 'RequestReceived')
                 and not (e.audit_id = d.audit_id and e.stage <> 'RequestReceived')
                 and e.at > d.since - ${LONGEST_REQUEST} and e.at <= d.read_until
               group by e.request_id, e.stage) stages offset 0) r)
     update counter_samples s
        set received_certain = c.certain, received_possible = c.possible, previous_until = c.previous_until, counted_at = $3
       from counted c
      where s.cluster_id = $1 and s.source_id = $2 and s.sampled_at = c.sampled_at`,
    [clusterID, sourceID, now],
  );
  return rowCount ?? 0;
}

interface SampleRow {
  sampled_at: string;
  read_since: string;
  read_until: string;
  process_started_at: string;
  events: string;
  errors: Record<string, number>;
  received_certain: string | null;
  received_possible: string | null;
  recount_at: string | null;
  verdict: Interval['verdict'];
}

/** A source's samples of a time, oldest first. */
export async function findSamples(
  client: ClientBase,
  clusterID: number,
  sourceID: number,
  since: Date,
  until: Date,
): Promise<StoredSample[]> {
  const { rows } = await client.query<SampleRow>(
    `select sampled_at, read_since, read_until, process_started_at, events, errors, received_certain, received_possible,
            recount_at, verdict
       from counter_samples where cluster_id = $1 and source_id = $2 and sampled_at >= $3 and sampled_at <= $4
      order by sampled_at`,
    [clusterID, sourceID, since, until],
  );
  return rows.map((row) => ({
    sampledAt: row.sampled_at,
    recountAt: row.recount_at,
    verdict: row.verdict,
    readSince: parseMicros(row.read_since)!,
    readUntil: parseMicros(row.read_until)!,
    processStartedAt: parseMicros(row.process_started_at)!,
    events: Number(row.events),
    errors: row.errors,
    received:
      row.received_possible === null
        ? undefined
        : { certain: Number(row.received_certain), possible: Number(row.received_possible) },
  }));
}

/** Keeps what the intervals that end at samples turned out to be, and when to count again; null: no more. */
export async function saveIntervals(
  client: ClientBase,
  clusterID: number,
  sourceID: number,
  rows: Array<{ sampledAt: string; interval: Interval; recountAt: Date | null }>,
): Promise<void> {
  if (rows.length === 0) return;
  await client.query(
    `update counter_samples s
        set verdict = r.verdict, reason = r.reason, expected = r.expected, received = r.received,
            missing_least = r.least, missing_most = r.most, recount_at = r.recount_at
       from unnest($3::timestamptz[], $4::completeness_verdict[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
                   $9::bigint[], $10::timestamptz[])
            as r (sampled_at, verdict, reason, expected, received, least, most, recount_at)
      where s.cluster_id = $1 and s.source_id = $2 and s.sampled_at = r.sampled_at`,
    [
      clusterID,
      sourceID,
      rows.map((row) => row.sampledAt),
      rows.map(({ interval }) => interval.verdict),
      rows.map(({ interval }) => interval.reason ?? null),
      rows.map(({ interval }) => interval.expected ?? null),
      rows.map(({ interval }) => interval.received ?? null),
      rows.map(({ interval }) => interval.missingLeast ?? null),
      rows.map(({ interval }) => interval.missingMost ?? null),
      rows.map((row) => row.recountAt),
    ],
  );
}
