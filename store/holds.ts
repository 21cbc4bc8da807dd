import type { ClientBase } from 'pg';

type Queryable = Pick<ClientBase, 'query'>;

/** What a hold is about; what isn't given holds of everything. Times are RFC 3339, half-open. */
export interface HoldScope {
  cluster: string | null;
  namespace: string | null;
  apiGroup: string | null;
  resource: string | null;
  name: string | null;
  username: string | null;
  since: string | null;
  until: string | null;
}

/** What must stay, whatever a policy says and whoever asks for its erasure. */
export interface LegalHold extends HoldScope {
  id: number;
  reason: string;
  createdAt: string;
  createdBy: string;
  releasedAt: string | null;
  releasedBy: string | null;
  releaseReason: string | null;
}

const SELECT = `select h.id, k.name as cluster, h.namespace, h.api_group as "apiGroup", h.resource, h.name, h.username, h.since, h.until,
       h.reason, h.created_at as "createdAt", h.created_by as "createdBy", h.released_at as "releasedAt",
       h.released_by as "releasedBy", h.release_reason as "releaseReason"
  from legal_holds h left join clusters k on k.id = h.cluster_id`;

/**
 * SQL that is true where an active hold covers a row. Each part is an expression: of the row's cluster, time, object (null
 * where there is none) and users.
 */
export function heldSql(row: {
  cluster: string;
  at: string;
  namespace: string;
  apiGroup: string;
  resource: string;
  name: string;
  usernames: string[];
}): string {
  const users = row.usernames.map((username) => `h.username = ${username}`).join(' or ');
  return `exists (select from legal_holds h where h.released_at is null and (h.cluster_id is null or h.cluster_id = ${row.cluster})
     and (h.since is null or ${row.at} >= h.since) and (h.until is null or ${row.at} < h.until)
     and (h.namespace is null or h.namespace = ${row.namespace}) and (h.api_group is null or h.api_group = ${row.apiGroup})
     and (h.resource is null or h.resource = ${row.resource}) and (h.name is null or h.name = ${row.name})
     and (h.username is null or ${users}))`;
}

/** Holds, the newest first; released ones too where asked for. */
export async function findHolds(client: Queryable, withReleased: boolean): Promise<LegalHold[]> {
  const { rows } = await client.query<LegalHold>(
    `${SELECT} where $1 or h.released_at is null order by h.id desc`,
    [withReleased],
  );
  return rows;
}

/** Undefined where there is no such cluster. */
export async function createHold(
  client: Queryable,
  scope: HoldScope,
  reason: string,
  by: string,
): Promise<LegalHold | undefined> {
  const { rows } = await client.query<{ id: number }>(
    `insert into legal_holds (cluster_id, namespace, api_group, resource, name, username, since, until, reason, created_by)
     select k.id, $2, $3, $4, $5, $6, $7, $8, $9, $10
       from (select (select id from clusters where name = $1) as id) k where $1::text is null or k.id is not null
     returning id`,
    [
      scope.cluster,
      scope.namespace,
      scope.apiGroup,
      scope.resource,
      scope.name,
      scope.username,
      scope.since,
      scope.until,
      reason,
      by,
    ],
  );
  const found = rows[0] && (await client.query<LegalHold>(`${SELECT} where h.id = $1`, [rows[0].id]));
  return found?.rows[0];
}

/** Undefined where no active hold has the id. */
export async function releaseHold(
  client: Queryable,
  id: number,
  reason: string,
  by: string,
): Promise<LegalHold | undefined> {
  const { rowCount } = await client.query(
    `update legal_holds set released_at = now(), released_by = $3, release_reason = $2
      where id = $1 and released_at is null`,
    [id, reason, by],
  );
  if (rowCount !== 1) return undefined;
  return (await client.query<LegalHold>(`${SELECT} where h.id = $1`, [id])).rows[0];
}
