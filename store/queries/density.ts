import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { Database } from '../schema.js';
import { attemptConditions, attemptsOf, canBeAttempt, isLastStage, onlyAttempts } from './attempts.js';
import { type ChangeFilter, changeConditions, findClusters, resolveFilter } from './change-filter.js';

/** Widths that a person can read off an axis, in seconds: from a second to four weeks. */
const WIDTHS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
  604_800, 1_209_600, 2_419_200,
];
/** Where all buckets begin to be counted: a Monday, midnight UTC. */
const ORIGIN = '2001-01-01T00:00:00Z';
const HOUR_SECONDS = 3600;
const HOUR_MS = HOUR_SECONDS * 1000;

export interface DensityQuestion {
  filter: ChangeFilter & { since: string; until: string };
  all: boolean;
  /** No more buckets than this. */
  buckets: number;
  /** Whoever asks may see the clusters whole: then hours that are counted already needn't be counted again. */
  wholeClusters: boolean;
}

export interface Density {
  /** How much time a bucket holds. */
  seconds: number;
  /** Buckets that hold anything, oldest first; `at` is where one begins. */
  items: Array<{ at: string; count: number }>;
}

/** The narrowest width that cuts a window into at most so many buckets. Times are RFC 3339. */
export function widthOf(since: string, until: string, buckets: number): number {
  const seconds = (Date.parse(until) - Date.parse(since)) / 1000;
  // A window seldom begins where a bucket does, and so touches one bucket more than its length tells.
  return WIDTHS.find((width) => seconds / width <= buckets - 1) ?? Math.ceil(seconds / (buckets - 1));
}

/** How many rows `findChanges` would list, by time. Counted in Postgres, by the index that the list would use. */
export async function findDensity(db: Kysely<Database>, question: DensityQuestion): Promise<Density> {
  const { filter } = question;
  const seconds = widthOf(filter.since, filter.until, question.buckets);
  const counts = new Map<string, number>();
  for (const statement of await densityStatements(db, question, seconds)) {
    for (const { at, count } of (await statement.execute(db)).rows)
      counts.set(at, (counts.get(at) ?? 0) + Number(count));
  }
  const items = [...counts].map(([at, count]) => ({ at, count }));
  return { seconds, items: items.sort((a, b) => (a.at < b.at ? -1 : 1)) };
}

/** Whether a question asks for more than a time: what is left by then is found elsewhere than by the time's index. */
function narrows(filter: ChangeFilter): boolean {
  const { clusters: _clusters, since: _since, until: _until, ...rest } = filter;
  return Object.values(rest).some((value) => value !== undefined);
}

/**
 * Counts each bucket by a range of the time's index of its own. That reads what grouping reads, and costs half of it: no
 * row's bucket is reckoned and looked up, and of 190,000 changes that is the most of the work.
 */
function countedByBucket(
  where: RawBuilder<unknown>,
  { since, until }: { since: string; until: string },
  seconds: number,
): RawBuilder<{ at: string; count: string }> {
  const width = sql`make_interval(secs => ${seconds})`;
  return sql`
    select b.at, n.count
      from generate_series(date_bin(${width}, ${since}::timestamptz, ${ORIGIN}::timestamptz), ${until}::timestamptz, ${width}) b (at)
     cross join lateral (
       select count(*) as count from changes c where ${where} and c.at >= b.at and c.at < b.at + ${width}) n
     where n.count > 0`;
}

/**
 * Adds up the hours that lie within the window as a whole (change_counts, kept by triggers), and counts what is before and
 * behind them. So a year costs what its hours do, however many changes they hold.
 */
function countedByHour(
  clusterID: number,
  where: RawBuilder<unknown>,
  { since, until }: { since: string; until: string },
  seconds: number,
): RawBuilder<{ at: string; count: string }> {
  const width = sql`make_interval(secs => ${seconds})`;
  const first = new Date(Math.ceil(Date.parse(since) / HOUR_MS) * HOUR_MS).toISOString();
  const last = new Date(Math.floor(Date.parse(until) / HOUR_MS) * HOUR_MS).toISOString();
  return sql`
    select date_bin(${width}, p.at, ${ORIGIN}::timestamptz) as at, sum(p.count) as count
      from (select hour as at, count from change_counts
             where cluster_id = ${clusterID} and hour >= ${first}::timestamptz and hour < ${last}::timestamptz
            union all
            select ${since}::timestamptz, count(*) from changes c where ${where} and c.at < ${first}::timestamptz
            union all
            select ${last}::timestamptz, count(*) from changes c where ${where} and c.at >= ${last}::timestamptz) p
     group by 1 having sum(p.count) > 0`;
}

async function densityStatements(
  db: Kysely<Database>,
  { filter, all, wholeClusters }: DensityQuestion,
  seconds: number,
): Promise<Array<RawBuilder<{ at: string; count: string }>>> {
  const bucket = sql`date_bin(make_interval(secs => ${seconds}), c.at, ${ORIGIN}::timestamptz)`;
  const statements: Array<RawBuilder<{ at: string; count: string }>> = [];
  for (const cluster of await findClusters(db, filter.clusters)) {
    const resolved = await resolveFilter(db, cluster.id, filter);
    if (!resolved) continue;
    if (!onlyAttempts(filter)) {
      const where = sql.join(changeConditions(resolved, all), sql` and `);
      statements.push(
        wholeClusters && !all && !narrows(filter) && seconds % HOUR_SECONDS === 0
          ? countedByHour(cluster.id, where, filter, seconds)
          : narrows(filter)
            ? sql`select ${bucket} as at, count(*) as count from changes c where ${where} group by 1`
            : countedByBucket(where, filter, seconds),
      );
    }
    const attempts = attemptsOf(filter, all);
    // A request stands once, by its last stage, as in the list.
    if (attempts.length > 0 && canBeAttempt(resolved))
      statements.push(sql`
        select ${bucket} as at, count(*) as count from events c
          left join objects o on o.cluster_id = c.cluster_id and o.id = c.object_id
         where ${sql.join(attemptConditions(resolved, attempts), sql` and `)}
           and ${isLastStage(filter)}
         group by 1`);
  }
  return statements;
}
