import { type Kysely, sql } from 'kysely';
import type { VerdictName } from '../../core/verdict/verdict.js';
import type { Database } from '../schema.js';
import { findClusters } from './change-filter.js';

/** How many changes of a week and environment have a verdict. */
export interface VerdictWeek {
  /** The Monday on which the week begins, in UTC: `2026-11-23`. */
  week: string;
  environment: string;
  verdict: VerdictName;
  count: string;
}

/**
 * The newest verdicts of changes, counted by the week of the change, environment and verdict; the latest week first.
 * Verdicts are named, so that an index tells all of it and the many that nobody asks about are not read.
 */
export async function countVerdictWeeks(
  db: Kysely<Database>,
  filter: {
    clusters: string[] | undefined;
    namespaces: string[] | undefined;
    environments: string[] | undefined;
    verdicts: readonly VerdictName[];
    since: string;
    until: string;
  },
): Promise<VerdictWeek[]> {
  const clusters = await findClusters(db, filter.clusters);
  const among = (column: string, values: readonly string[] | undefined) =>
    values?.length ? sql`and ${sql.ref(column)} = any(${values}::text[])` : sql``;
  const { rows } = await sql<VerdictWeek>`
    select to_char(date_trunc('week', v.at at time zone 'UTC'), 'YYYY-MM-DD') as week, v.environment, v.verdict, count(*) as count
      from unnest(${clusters.map(({ id }) => id)}::integer[]) as k (id)
      join current_verdicts v on v.cluster_id = k.id
     where v.verdict = any(${[...filter.verdicts]}::verdict_name[])
       and v.at >= ${filter.since}::timestamptz and v.at < ${filter.until}::timestamptz
       ${among('v.environment', filter.environments)} ${among('v.namespace', filter.namespaces)}
     group by 1, 2, 3 order by 1 desc, 2, 3`.execute(db);
  return rows;
}
