import { type Kysely, sql } from 'kysely';
import type { GapCause, GapState } from '../../core/completeness/gap.js';
import type { Database } from '../schema.js';
import { type Keyset, type Page, pageOf } from './cursor.js';

export interface GapFilter {
  clusterIDs: number[];
  source?: string;
  causes?: GapCause[];
  state?: GapState;
  since?: string;
  until?: string;
}

export interface GapItem {
  id: string;
  cluster: string;
  source: string;
  cause: GapCause;
  since: string;
  until: string;
  expected: string | null;
  received: string | null;
  missing: string | null;
  api_group: string | null;
  resource: string | null;
  namespace: string | null;
  name: string | null;
  change_id: string | null;
  evidence: Record<string, unknown>;
  state: GapState;
  opened_at: string;
  evaluated_at: string;
  closed_at: string | null;
  closed_reason: string | null;
}

/** Gaps that overlap a time, those that end last first. */
export async function findGaps(
  db: Kysely<Database>,
  filter: GapFilter,
  after: Keyset | undefined,
  limit: number,
): Promise<Page<GapItem>> {
  const conditions = [sql`cluster_id = k.id`];
  if (filter.source !== undefined)
    conditions.push(sql`source_id in (select id from sources where name = ${filter.source})`);
  if (filter.causes) conditions.push(sql`cause = any(${filter.causes}::gap_cause[])`);
  if (filter.state) conditions.push(sql`state = ${filter.state}::gap_state`);
  if (filter.since !== undefined) conditions.push(sql`until > ${filter.since}::timestamptz`);
  if (filter.until !== undefined) conditions.push(sql`since < ${filter.until}::timestamptz`);
  if (after) conditions.push(sql`(until, id) < (${after.at}::timestamptz, ${after.id}::bigint)`);
  // A page of each cluster, so that an index gives them in order.
  const { rows } = await sql<GapItem>`
    select g.id, k.name as cluster, s.name as source, g.cause, g.since, g.until, g.expected, g.received, g.missing,
           o.api_group, o.resource, o.namespace, o.name, g.change_id, g.evidence, g.state, g.opened_at, g.evaluated_at,
           g.closed_at, g.closed_reason
      from clusters k
     cross join lateral (
       select * from gaps where ${sql.join(conditions, sql` and `)} order by until desc, id desc limit ${limit + 1}) g
      join sources s on s.id = g.source_id
      left join objects o on o.cluster_id = g.cluster_id and o.id = g.object_id
     where k.id = any(${filter.clusterIDs}::integer[])
     order by g.until desc, g.id desc limit ${limit + 1}`.execute(db);
  return pageOf(rows, limit, (row) => ({ at: row.until, id: row.id }));
}
