import type { ClientBase } from 'pg';
import type { EventClass } from '../../core/vocabulary.js';

type Queryable = Pick<ClientBase, 'query'>;

/** The policy that retention follows, as of when it came into force. */
export interface AppliedPolicy {
  version: number;
  /** core/retention/policy.ts */
  policy: string;
  appliedAt: string;
}

/** Policies that were followed, the newest first. */
export async function findAppliedPolicies(client: Queryable): Promise<AppliedPolicy[]> {
  const { rows } = await client.query<AppliedPolicy>(
    'select version, policy, applied_at as "appliedAt" from retention_policies order by version desc limit 100',
  );
  return rows;
}

/** Makes a version of a policy that is another than the last one. */
export async function recordPolicy(client: Queryable, policy: string): Promise<void> {
  await client.query(
    `insert into retention_policies (policy)
     select $1 where $1 is distinct from (select policy from retention_policies order by version desc limit 1)`,
    [policy],
  );
}

/** Up to when all of these classes have been looked at; undefined where one never was. */
export async function findProgress(
  client: Queryable,
  clusterID: number,
  classes: readonly EventClass[],
): Promise<string | undefined> {
  const { rows } = await client.query<{ until: string | null; count: number }>(
    `select min(until) as until, count(*)::int as count from retention_progress
      where cluster_id = $1 and class = any($2::event_class[])`,
    [clusterID, classes],
  );
  const { until, count } = rows[0]!;
  return count === classes.length && until !== null ? until : undefined;
}

export async function recordProgress(
  client: Queryable,
  clusterID: number,
  classes: readonly EventClass[],
  until: string,
): Promise<void> {
  await client.query(
    `insert into retention_progress (cluster_id, class, until) select $1, c, $3 from unnest($2::event_class[]) as c
     on conflict (cluster_id, class) do update set until = excluded.until`,
    [clusterID, classes, until],
  );
}
