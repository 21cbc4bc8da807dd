import type { ClientBase } from 'pg';
import type { Json } from '../core/audit-event.js';
import type { Version } from '../core/change.js';
import { isJsonObject, writerClass } from '../core/classify.js';
import type { Inferred } from '../core/state.js';
import { parseMicros } from '../core/timestamp.js';
import type { Certainty, ChangeClass, ChangeKind, Outcome } from '../core/vocabulary.js';
import { revisionOf, type Write } from '../core/write.js';

/** A version-making row of `changes`, as far as projecting its neighbours needs it. */
export interface VersionRow {
  change_id: string;
  seq: string;
  at: string;
  completed_at: string;
  source_id: number;
  event_digest: Buffer;
  audit_id: string;
  class: ChangeClass;
  kind: ChangeKind;
  outcome: Outcome;
  verb: string;
  object_id: string;
  api_group: string;
  api_version: string | null;
  resource: string;
  subresource: string | null;
  namespace: string;
  name: string;
  uid: string | null;
  request_uri: string;
  code: number | null;
  level: Write['level'];
  resource_version: string | null;
  generation: string | null;
  order_rv: string;
  deleted: boolean;
  request_digest: Buffer | null;
  response_digest: Buffer | null;
  before_digest: Buffer | null;
  after_digest: Buffer | null;
  after_certainty: Certainty;
  inferred: Inferred | null;
  flags: string[] | null;
}

const COLUMNS = `
  c.change_id, c.seq, c.at, c.completed_at, c.source_id, c.event_digest, c.audit_id, c.class, c.kind, c.outcome, c.verb,
  c.object_id, c.api_group, c.api_version, c.resource, c.subresource, c.namespace, c.name, c.uid, c.request_uri, c.code,
  c.level, c.resource_version, c.generation, c.order_rv, c.deleted, c.request_digest, c.response_digest, c.before_digest, c.after_digest,
  c.after_certainty, c.inferred, c.flags`;

/** Versions received within this of each other may be numbered otherwise than they were received. */
const HEAD_ROWS = 6;

/** The newest version of each of these objects, by object id. */
export async function findHeads(
  client: ClientBase,
  clusterID: number,
  objectIDs: string[],
): Promise<Map<string, VersionRow>> {
  const heads = new Map<string, VersionRow>();
  if (objectIDs.length === 0) return heads;
  const { rows } = await client.query<VersionRow>({
    name: 'version-heads',
    text: `select ${COLUMNS} from unnest($2::uuid[]) as o (id)
           cross join lateral (
             select * from changes
              where cluster_id = $1 and object_id = o.id and after_certainty is not null
              order by at desc limit ${HEAD_ROWS}) c`,
    values: [clusterID, objectIDs],
  });
  for (const row of rows) {
    const head = heads.get(row.object_id);
    if (!head || isNewer(row, head)) heads.set(row.object_id, row);
  }
  return heads;
}

/** As orderWrites does: by resourceVersion where both have one, else by time. */
function isNewer(a: VersionRow, b: VersionRow): boolean {
  if (a.resource_version !== null && b.resource_version !== null && a.order_rv !== b.order_rv)
    return BigInt(a.order_rv) > BigInt(b.order_rv);
  return parseMicros(a.completed_at)! > parseMicros(b.completed_at)!;
}

/** Whether a write goes before a stored version. */
export function goesBefore(write: Write, row: VersionRow): boolean {
  const rv = revisionOf(write.response);
  if (rv !== undefined && row.resource_version !== null && rv !== BigInt(row.order_rv))
    return rv < BigInt(row.order_rv);
  return write.completedAt < parseMicros(row.completed_at)!;
}

/** A version with who wrote it. */
export interface AuthoredVersionRow extends VersionRow {
  username: string;
  user_agent: string | null;
}

/** A span of time of one object, RFC 3339. */
export interface ObjectSpan {
  objectID: string;
  since: string;
  until: string;
}

/** Versions of objects around spans of time: those within, and the nearest on either side, in no order; by object id. */
export async function findVersionsAround(
  client: ClientBase,
  clusterID: number,
  spans: ObjectSpan[],
): Promise<Map<string, AuthoredVersionRow[]>> {
  const versions = `from changes where cluster_id = $1 and object_id = o.id and after_certainty is not null`;
  const { rows } = await client.query<AuthoredVersionRow>({
    name: 'versions-around',
    text: `select ${COLUMNS}, u.username, a.user_agent
             from unnest($2::uuid[], $3::timestamptz[], $4::timestamptz[]) as o (id, since, until)
             cross join lateral (
               (select * ${versions} and at < o.since order by at desc limit ${HEAD_ROWS})
               union all (select * ${versions} and at >= o.since and at <= o.until)
               union all (select * ${versions} and at > o.until order by at limit ${HEAD_ROWS})) c
             join users u on u.cluster_id = $1 and u.id = c.user_id
             left join user_agents a on a.cluster_id = $1 and a.id = c.user_agent_id`,
    values: [
      clusterID,
      spans.map((span) => span.objectID),
      spans.map((span) => span.since),
      spans.map((span) => span.until),
    ],
  });
  const found = new Map<string, AuthoredVersionRow[]>();
  for (const row of rows) {
    const own = found.get(row.object_id);
    if (own) own.push(row);
    else found.set(row.object_id, [row]);
  }
  return found;
}

/** The stored version behind a row. `bodies` must hold its after_digest. */
export function versionOf(row: VersionRow, bodies: ReadonlyMap<string, Json>): Version {
  const body = row.after_digest ? bodies.get(row.after_digest.toString('hex')) : undefined;
  return {
    orderRV: BigInt(row.order_rv),
    at: parseMicros(row.at)!,
    uid: row.uid ?? undefined,
    generation: row.generation === null ? undefined : Number(row.generation),
    deleted: row.deleted,
    state: {
      object: isJsonObject(body) ? body : undefined,
      certainty: body === undefined ? 'unknown' : row.after_certainty,
      inferred: row.inferred ?? undefined,
    },
  };
}

/** The write that a stored change stands for, so that it can be projected again. `bodies` must hold its bodies. */
export function writeOfRow(row: AuthoredVersionRow, bodies: ReadonlyMap<string, Json>): Write {
  const body = (digest: Buffer | null) => (digest ? bodies.get(digest.toString('hex')) : undefined);
  const impersonates = row.flags?.includes('impersonated') ?? false;
  const itemOfCollection = row.flags?.includes('item_of_collection') ?? false;
  return {
    changeID: row.change_id,
    at: parseMicros(row.at)!,
    completedAt: parseMicros(row.completed_at)!,
    // The row's class may have come from what the write changed; that is decided anew.
    class:
      itemOfCollection || row.class === 'access'
        ? row.class
        : writerClass(row.username, impersonates, row.subresource ?? undefined),
    outcome: row.outcome,
    verb: row.verb,
    code: row.code ?? undefined,
    level: row.level,
    requestURI: row.request_uri,
    user: { username: row.username },
    impersonated: impersonates ? { username: '' } : undefined,
    userAgent: row.user_agent ?? undefined,
    key: { apiGroup: row.api_group, resource: row.resource, namespace: row.namespace, name: row.name },
    apiVersion: row.api_version ?? undefined,
    subresource: row.subresource ?? undefined,
    uid: row.uid ?? undefined,
    request: body(row.request_digest),
    response: body(row.response_digest),
    truncated: row.flags?.includes('truncated') ?? false,
    itemOfCollection,
  };
}

/** The digests of every body that projecting a row again needs. */
export function digestsOf(row: VersionRow): string[] {
  return [row.request_digest, row.response_digest, row.after_digest].flatMap((digest) =>
    digest ? [digest.toString('hex')] : [],
  );
}
