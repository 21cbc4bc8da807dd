import { type Kysely, sql } from 'kysely';
import type { Database } from '../schema.js';
import { timeConditions } from './change-filter.js';

/** What somebody did in a window, counted. */
export interface ActorSummary {
  first_at: string | null;
  last_at: string | null;
  kinds: Record<string, number>;
  namespaces: Record<string, number>;
  tools: Record<string, number>;
}

/**
 * Counts the changes and accesses in a window, over clusters, that were made by a user or in the user's name; undefined
 * when the name was never seen.
 */
export async function findActorSummary(
  db: Kysely<Database>,
  username: string,
  window: { since?: string; until?: string },
): Promise<ActorSummary | undefined> {
  // A service account has an entry for each of its tokens: too many, in a year, to be listed.
  const entries = db
    .selectFrom('users')
    .select(['cluster_id', 'id'])
    .where('username', '=', username)
    .where('cluster_id', 'in', db.selectFrom('clusters').select('id'));
  if ((await entries.limit(1).execute()).length === 0) return undefined;
  const conditions = sql.join(
    [sql`c.class in ('change', 'access')`, ...timeConditions(window, sql.ref('c.at'))],
    sql` and `,
  );
  const { rows } = await sql<{
    kind: string;
    namespace: string;
    tool: string;
    count: number;
    first_at: string;
    last_at: string;
  }>`
    select c.kind, c.namespace, c.tool, count(*)::int as count, min(c.at) as first_at, max(c.at) as last_at
      from (select c.* from ${entries} u join changes c on c.cluster_id = u.cluster_id and c.user_id = u.id
             where ${conditions}
            union all
            select c.* from ${entries} u
              join changes c on c.cluster_id = u.cluster_id and c.impersonated_user_id = u.id
              join users self on self.cluster_id = c.cluster_id and self.id = c.user_id
             where ${conditions} and c.impersonated_user_id is not null and self.username <> ${username}) c
     group by 1, 2, 3`.execute(db);
  const summary: ActorSummary = { first_at: null, last_at: null, kinds: {}, namespaces: {}, tools: {} };
  for (const row of rows) {
    summary.kinds[row.kind] = (summary.kinds[row.kind] ?? 0) + row.count;
    summary.namespaces[row.namespace] = (summary.namespaces[row.namespace] ?? 0) + row.count;
    summary.tools[row.tool] = (summary.tools[row.tool] ?? 0) + row.count;
    if (summary.first_at === null || row.first_at < summary.first_at) summary.first_at = row.first_at;
    if (summary.last_at === null || row.last_at > summary.last_at) summary.last_at = row.last_at;
  }
  return summary;
}
