import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { CompletenessVerdict } from '../../core/completeness/counters.js';
import { overallVerdict, verdictOf } from '../../core/completeness/verdict.js';
import { prepared } from '../prepared.js';
import type { Database } from '../schema.js';

/** A write that was received at the end of a time is told of so much later at the most. */
const LONGEST_WRITE = sql`interval '60 seconds'`;
/** An apiserver whose clock is off by more has nothing proven. */
const CLOCKS_DIFFER = sql`interval '1 hour'`;
/** Longer times than this are not looked through for a list of changes. */
const MOST_DAYS = 31;

/** What a list of changes can say of itself. */
export interface ListCompleteness {
  verdict: CompletenessVerdict;
  /** Open gaps that overlap the time asked for. */
  gaps: number;
  /** Proven complete from the beginning up to then, where that is not the end. */
  completeUntil?: string;
}

/**
 * Whether everything of a time is here, of every source that the clusters had then; of imported files nothing is
 * expected. Without a beginning, or over more than a month, no proof is looked for.
 */
export async function findListCompleteness(
  db: Kysely<Database>,
  clusterIDs: number[],
  since: string | undefined,
  until: string,
): Promise<ListCompleteness> {
  const from = since ?? '-infinity';
  const { rows } = await prepared(sql<{
    cluster_id: number;
    gaps: number;
    covered: boolean | null;
    complete_until: string | null;
  }>`
    with clusters as materialized (select unnest(${clusterIDs}::integer[]) as cluster_id)
    select k.cluster_id, g.gaps, s.covered, s.complete_until
      from clusters k
     cross join lateral (
       select count(*)::int as gaps from gaps
        where cluster_id = k.cluster_id and state = 'open' and until > ${from}::timestamptz and since < ${until}::timestamptz) g
     cross join lateral (
       select coalesce(bool_and(coalesce(c.since <= ${from}::timestamptz and c.until >= ${until}::timestamptz + ${LONGEST_WRITE}
                                         and c.broken_at is null, false)), false) as covered,
              min(coalesce(case when c.since <= ${from}::timestamptz then least(c.broken_at, c.until) end, '-infinity')) as complete_until
         from sources s
         left join lateral (
           select min(n.previous_until) as since, max(n.read_since) as until,
                  min(coalesce(n.previous_until, n.read_since)) filter (where n.verdict <> 'complete') as broken_at
             from counter_samples n
            where ${isShort(since, until)} and n.cluster_id = s.cluster_id and n.source_id = s.id
              and ${sampledWithin(sql`n`, sql`${from}::timestamptz`, sql`${until}::timestamptz`)}
              and n.read_until > ${from}::timestamptz
              and coalesce(n.previous_until, n.read_since) < ${until}::timestamptz + ${LONGEST_WRITE}) c on true
        where s.cluster_id = k.cluster_id and s.kind <> 'import' and (s.disabled_at is null or s.disabled_at > ${from}::timestamptz)) s`).execute(
    db,
  );
  const verdicts = rows.map((row) =>
    verdictOf({ openGaps: row.gaps, incomplete: false, covered: row.covered ?? false }),
  );
  const verdict = overallVerdict(verdicts);
  const ends = rows.map((row) => row.complete_until ?? '-infinity').sort();
  const completeUntil = ends.includes('-infinity') ? undefined : ends[0];
  return {
    verdict,
    gaps: rows.reduce((sum, row) => sum + row.gaps, 0),
    ...(verdict !== 'complete' &&
      since !== undefined &&
      completeUntil !== undefined &&
      completeUntil > since && { completeUntil }),
  };
}

/**
 * Samples by our clock that may say something of a time by the apiserver's. The first one after it may close an interval
 * that began within, however long ago.
 */
function sampledWithin(sample: RawBuilder<unknown>, since: RawBuilder<unknown>, until: RawBuilder<unknown>) {
  return sql`${sample}.sampled_at > ${since} - ${CLOCKS_DIFFER}
    and ${sample}.sampled_at <= coalesce(
      (select min(l.sampled_at) from counter_samples l
        where l.cluster_id = s.cluster_id and l.source_id = s.id and l.sampled_at > ${until} + ${CLOCKS_DIFFER}),
      'infinity')`;
}

function isShort(since: string | undefined, until: string): boolean {
  return since !== undefined && Date.parse(until) - Date.parse(since) <= MOST_DAYS * 86_400_000;
}

export interface CompletenessFilter {
  clusterIDs: number[];
  source?: string;
  since: string;
  until: string;
  stepSeconds: number;
}

/** One source over one step of time. */
export interface CompletenessStep {
  cluster: string;
  source: string;
  kind: string;
  since: string;
  until: string;
  gaps: number;
  covered: boolean;
  incomplete: boolean;
  reasons: string[];
  samples: number;
  expected: string | null;
  received: string | null;
  missing_least: string | null;
  missing_most: string | null;
  canaries: number;
  canaries_seen: number;
  canaries_missing: number;
  canary_latency: number | null;
}

/** Each source of a time, step by step, oldest first. Numbers of an interval count for the step in which it ends. */
export async function findCompleteness(
  db: Kysely<Database>,
  { clusterIDs, source, since, until, stepSeconds }: CompletenessFilter,
): Promise<CompletenessStep[]> {
  const step = sql`${stepSeconds} * interval '1 second'`;
  const { rows } = await sql<CompletenessStep>`
    select k.name as cluster, s.name as source, s.kind, t.since, t.until, g.gaps, n.covered, n.incomplete, n.reasons, n.samples,
           n.expected, n.received, n.missing_least, n.missing_most, c.canaries, c.canaries_seen, c.canaries_missing, c.canary_latency
      from sources s
      join clusters k on k.id = s.cluster_id
     cross join lateral (
       select b as since, least(b + ${step}, ${until}::timestamptz) as until
         from generate_series(${since}::timestamptz, ${until}::timestamptz - interval '1 microsecond', ${step}) b) t
     cross join lateral (
       select count(*)::int as gaps from gaps
        where cluster_id = s.cluster_id and state = 'open' and source_id = s.id and until > t.since and since < t.until) g
     cross join lateral (
       select coalesce(bool_and(verdict = 'complete') and min(previous_until) <= t.since and max(read_since) >= t.until, false) as covered,
              coalesce(bool_or(verdict = 'incomplete'), false) as incomplete,
              coalesce(array_agg(distinct reason) filter (where reason is not null), '{}') as reasons,
              count(*)::int as samples, ${within('expected')} as expected, ${within('received')} as received,
              ${within('missing_least')} as missing_least, ${within('missing_most')} as missing_most
         from counter_samples
        where cluster_id = s.cluster_id and source_id = s.id
          and ${sampledWithin(sql`counter_samples`, sql`t.since`, sql`t.until`)}
          and read_until > t.since and coalesce(previous_until, read_since) < t.until) n
     cross join lateral (
       select count(*)::int as canaries, (count(*) filter (where state = 'seen'))::int as canaries_seen,
              (count(*) filter (where state = 'missing'))::int as canaries_missing,
              max(extract(epoch from seen_at - sent_at))::float8 as canary_latency
         from canaries
        where cluster_id = s.cluster_id and source_id = s.id and sent_at >= t.since and sent_at < t.until) c
     where s.cluster_id = any(${clusterIDs}::integer[]) and (s.disabled_at is null or s.disabled_at > ${since}::timestamptz)
       and ${source === undefined ? sql`s.kind <> 'import'` : sql`s.name = ${source}`}
     order by k.name, s.name, t.since`.execute(db);
  return rows;
}

function within(column: string) {
  return sql`sum(${sql.ref(column)}) filter (where read_since > t.since and read_since <= t.until)`;
}
