import type { ClientBase } from 'pg';
import type { RecordedChange } from '../core/attribution/attribution.js';
import type { Json, JsonObject } from '../core/audit-event.js';
import { isJsonObject } from '../core/classify.js';
import { formatMicros } from '../core/timestamp.js';
import type { ChangeClass, ChangeKind, Outcome } from '../core/vocabulary.js';

/** A row of RECORDED_COLUMNS. */
export interface RecordedRow {
  change_id: string;
  micros: string;
  seq: string;
  order_rv: string;
  exact_rv: boolean;
  class: ChangeClass;
  kind: ChangeKind;
  outcome: Outcome;
  verb: string;
  subresource: string | null;
  object_id: string;
  api_group: string;
  resource: string;
  namespace: string;
  name: string;
  uid: string | null;
  username: string;
  impersonated: boolean;
  user_agent: string | null;
  field_terms: string[] | null;
  labels: string[] | null;
  flags: string[] | null;
  event_digest: Buffer;
  before_digest: Buffer | null;
  after_digest: Buffer | null;
}

/** What attribution looks at of a change `c`, its user `u` and its user agent `a` (RECORDED_JOINS). */
export const RECORDED_COLUMNS = `
  c.change_id, (extract(epoch from c.at) * 1000000)::bigint as micros, c.seq, c.order_rv,
  coalesce(c.resource_version ~ '^[0-9]{1,18}$', false) as exact_rv, c.class, c.kind, c.outcome, c.verb, c.subresource,
  c.object_id, c.api_group, c.resource, c.namespace, c.name, c.uid, u.username,
  c.impersonated_user_id is not null as impersonated, a.user_agent, c.field_terms, c.labels, c.flags, c.event_digest,
  c.before_digest, c.after_digest`;
/** `limit 1` holds the planner to one index lookup per row: dictionaries grow with the cluster, a batch does not. */
export const RECORDED_JOINS = `
  left join lateral (select username from users where cluster_id = $1 and id = c.user_id limit 1) u on true
  left join lateral (select user_agent from user_agents where cluster_id = $1 and id = c.user_agent_id limit 1) a on true`;

export function recordedChange(row: RecordedRow): RecordedChange {
  return {
    changeID: row.change_id,
    at: Number(row.micros),
    orderRV: BigInt(row.order_rv),
    exactRV: row.exact_rv && !isFinalDelete(row),
    class: row.class,
    kind: row.kind,
    outcome: row.outcome,
    verb: row.verb,
    subresource: row.subresource ?? undefined,
    objectID: row.object_id,
    key: { apiGroup: row.api_group, resource: row.resource, namespace: row.namespace, name: row.name },
    uid: row.uid ?? undefined,
    username: row.username ?? '',
    impersonated: row.impersonated,
    userAgent: row.user_agent ?? undefined,
    fieldTerms: row.field_terms ?? undefined,
    labels: row.labels ?? [],
    flags: row.flags ?? [],
  };
}

/**
 * A delete that takes effect at once, and an update that takes the last finalizer off, are answered with the last
 * version: its revision is older than the deletion's.
 */
function isFinalDelete(row: RecordedRow): boolean {
  if (row.kind === 'finalizer_removal') return true;
  return row.verb === 'delete' && !row.flags?.includes('deletion_pending');
}

/** The object among loaded bodies that a change's digest names. */
export function bodyOf(bodies: ReadonlyMap<string, Json>, digest: Buffer | null): JsonObject | undefined {
  const body = digest ? bodies.get(digest.toString('hex')) : undefined;
  return isJsonObject(body) ? body : undefined;
}

/** Changes of an object up to a time. */
export interface HistoryQuery {
  objectID: string;
  until: number;
}

/** Rows of one object that are looked at per question; most of a busy object's rows are status. */
const SCAN_ROWS = 500;
const HISTORY_ROWS = 40;
const TEMPLATE_SCAN_ROWS = 2000;

/** The latest changes of each object up to its time, status left out, by object id. */
export async function findHistories(
  client: ClientBase,
  clusterID: number,
  queries: readonly HistoryQuery[],
): Promise<Map<string, RecordedChange[]>> {
  if (queries.length === 0) return new Map();
  const { rows } = await client.query<RecordedRow>({
    name: 'object-histories',
    text: `select ${RECORDED_COLUMNS} from unnest($2::uuid[], $3::timestamptz[]) as q (object_id, until)
           cross join lateral (
             select * from (
               select * from changes where cluster_id = $1 and object_id = q.object_id and at <= q.until
                order by at desc limit ${SCAN_ROWS}) recent
              where class in ('change', 'derived') order by at desc limit ${HISTORY_ROWS}) c ${RECORDED_JOINS}`,
    values: [
      clusterID,
      queries.map((query) => query.objectID),
      queries.map((query) => formatMicros(query.until)),
    ],
  });
  return byObject(rows);
}

/** The changes of each object within 2 seconds of a time, such as that of its first sight: its creation. */
export async function findChangesNear(
  client: ClientBase,
  clusterID: number,
  queries: ReadonlyArray<{ objectID: string; at: number }>,
): Promise<Map<string, RecordedChange[]>> {
  if (queries.length === 0) return new Map();
  const { rows } = await client.query<RecordedRow>({
    name: 'changes-near',
    text: `select ${RECORDED_COLUMNS} from unnest($2::uuid[], $3::timestamptz[]) as q (object_id, near)
           cross join lateral (
             select * from changes
              where cluster_id = $1 and object_id = q.object_id
                and at >= q.near - interval '2 seconds' and at <= q.near + interval '2 seconds'
                and class in ('change', 'derived') limit 10) c ${RECORDED_JOINS}`,
    values: [
      clusterID,
      queries.map((query) => query.objectID),
      queries.map((query) => formatMicros(query.at)),
    ],
  });
  return byObject(rows);
}

/** The latest changes of each object up to its time that set its template, or may have. */
export async function findTemplateChanges(
  client: ClientBase,
  clusterID: number,
  queries: readonly HistoryQuery[],
): Promise<Map<string, RecordedChange[]>> {
  if (queries.length === 0) return new Map();
  const { rows } = await client.query<RecordedRow>({
    name: 'template-changes',
    text: `select ${RECORDED_COLUMNS} from unnest($2::uuid[], $3::timestamptz[]) as q (object_id, until)
           cross join lateral (
             select * from (
               select * from changes where cluster_id = $1 and object_id = q.object_id and at <= q.until
                order by at desc limit ${TEMPLATE_SCAN_ROWS}) recent
              where class in ('change', 'derived')
                and (kind in ('create', 'restart')
                     or (kind = 'update' and (field_terms is null or field_terms && '{spec.template,spec.jobTemplate}')))
              order by at desc limit 3) c ${RECORDED_JOINS}`,
    values: [
      clusterID,
      queries.map((query) => query.objectID),
      queries.map((query) => formatMicros(query.until)),
    ],
  });
  return byObject(rows);
}

/** What happened to the objects of each owner within a span of time, by owner uid. */
export async function findSiblings(
  client: ClientBase,
  clusterID: number,
  queries: ReadonlyArray<{ ownerUid: string; since: number; until: number }>,
): Promise<Map<string, RecordedChange[]>> {
  const siblings = new Map<string, RecordedChange[]>();
  if (queries.length === 0) return siblings;
  const { rows } = await client.query<RecordedRow & { owner_uid: string }>({
    name: 'siblings',
    text: `select q.owner_uid, ${RECORDED_COLUMNS}
             from unnest($2::text[], $3::timestamptz[], $4::timestamptz[]) as q (owner_uid, since, until)
            cross join lateral (
              select distinct object_id from object_uids where cluster_id = $1 and owner_uid = q.owner_uid) s
            cross join lateral (
              select * from changes
               where cluster_id = $1 and object_id = s.object_id and at >= q.since and at <= q.until
                 and class in ('change', 'derived')
                 and kind in ('create', 'update', 'delete', 'eviction', 'finalizer_removal')) c ${RECORDED_JOINS}`,
    values: [
      clusterID,
      queries.map((query) => query.ownerUid),
      queries.map((query) => formatMicros(query.since)),
      queries.map((query) => formatMicros(query.until)),
    ],
  });
  for (const row of rows) {
    const own = siblings.get(row.owner_uid);
    if (own) own.push(recordedChange(row));
    else siblings.set(row.owner_uid, [recordedChange(row)]);
  }
  return siblings;
}

/** The deletecollection behind each item's row: both stand for the same event. By item change id. */
export async function findCollections(
  client: ClientBase,
  clusterID: number,
  items: ReadonlyArray<{ changeID: string; at: number; eventDigest: Buffer }>,
): Promise<Map<string, RecordedChange>> {
  if (items.length === 0) return new Map();
  const { rows } = await client.query<RecordedRow & { item_id: string }>({
    name: 'collections',
    text: `select q.item_id, ${RECORDED_COLUMNS}
             from unnest($2::uuid[], $3::timestamptz[], $4::bytea[]) as q (item_id, at, digest)
             join changes c on c.cluster_id = $1 and c.at = q.at and c.event_digest = q.digest
              and c.kind = 'delete_collection' ${RECORDED_JOINS}`,
    values: [
      clusterID,
      items.map((item) => item.changeID),
      items.map((item) => formatMicros(item.at)),
      items.map((item) => item.eventDigest),
    ],
  });
  return new Map(rows.map((row) => [row.item_id, recordedChange(row)]));
}

/** Changes of ClusterRoles by anyone but controllers, within a span of time. */
export async function findClusterRoleChanges(
  client: ClientBase,
  clusterID: number,
  since: number,
  until: number,
): Promise<RecordedChange[]> {
  const { rows } = await client.query<RecordedRow>({
    name: 'cluster-role-changes',
    // Only roles with labels can be gathered into another.
    text: `select ${RECORDED_COLUMNS} from (
             select * from changes
              where cluster_id = $1 and class = 'change' and kind in ('rbac_grant', 'rbac_revoke', 'update')
                and at >= $2 and at <= $3 and resource = 'clusterroles' and labels is not null
              order by at desc limit 200) c ${RECORDED_JOINS}`,
    values: [clusterID, formatMicros(since), formatMicros(until)],
  });
  return rows.map(recordedChange);
}

function byObject(rows: RecordedRow[]): Map<string, RecordedChange[]> {
  const found = new Map<string, Map<string, RecordedChange>>();
  for (const row of rows) {
    let own = found.get(row.object_id);
    if (!own) {
      own = new Map();
      found.set(row.object_id, own);
    }
    if (!own.has(row.change_id)) own.set(row.change_id, recordedChange(row));
  }
  return new Map([...found].map(([id, own]) => [id, [...own.values()]]));
}
