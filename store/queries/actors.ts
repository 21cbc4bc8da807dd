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

/** Counts a user's changes and accesses in a window, over clusters; undefined when the name was never seen. */
export async function findActorSummary(
  db: Kysely<Database>,
  username: string,
  window: { since?: string; until?: string },
): Promise<ActorSummary | undefined> {
  const users = await db
    .selectFrom('users')
    .select(['cluster_id', 'id'])
    .where('username', '=', username)
    .where('cluster_id', 'in', db.selectFrom('clusters').select('id'))
    .execute();
  if (users.length === 0) return undefined;
  const conditions = [
    sql`(c.cluster_id, c.user_id) in (${sql.join(users.map((user) => sql`(${user.cluster_id}::integer, ${user.id}::bigint)`))})`,
    sql`c.class in ('change', 'access')`,
    ...timeConditions(window, sql.ref('c.at')),
  ];
  const { rows } = await sql<{
    kind: string;
    namespace: string;
    tool: string;
    count: number;
    first_at: string;
    last_at: string;
  }>`
    select c.kind, c.namespace, c.tool, count(*)::int as count, min(c.at) as first_at, max(c.at) as last_at
      from changes c where ${sql.join(conditions, sql` and `)} group by 1, 2, 3`.execute(db);
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
