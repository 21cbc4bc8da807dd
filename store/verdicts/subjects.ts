import type { ClientBase } from 'pg';
import type { JsonObject, UserInfo } from '../../core/audit-event.js';
import { isJsonObject } from '../../core/classify.js';
import type { Subject } from '../../core/links/link.js';
import { COMMIT_ANNOTATION, manifestDigest } from '../../core/links/signed-annotation.js';
import { formatMicros } from '../../core/timestamp.js';
import type { ChangeClass, ChangeKind, Outcome } from '../../core/vocabulary.js';
import { metadataOf } from '../../core/write.js';
import type { BodyCache } from '../body-cache.js';
import { bodyOf } from '../recorded-changes.js';

/** Which change of a cluster: its time tells the partition. */
export interface ChangeKey {
  changeID: string;
  /** Microseconds. */
  at: number;
}

/** A change as the jobs of links and verdicts read it. */
export interface SubjectRow {
  change_id: string;
  micros: string;
  seq: string;
  cluster: string;
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
  username: string;
  user_uid: string | null;
  groups: string[] | null;
  extra: Record<string, string[]> | null;
  impersonated_username: string | null;
  user_agent: string | null;
  flags: string[] | null;
  labels: string[] | null;
  paths: string[] | null;
  request_digest: Buffer | null;
  before_digest: Buffer | null;
  after_digest: Buffer | null;
  deleted: boolean;
}

const COLUMNS = `
  c.change_id, (extract(epoch from c.at) * 1000000)::bigint as micros, c.seq, k.name as cluster, c.class, c.kind, c.outcome,
  c.verb, c.subresource, c.object_id, c.api_group, c.resource, c.namespace, c.name, coalesce(u.username, '') as username,
  u.uid as user_uid, u.groups, u.extra, i.username as impersonated_username, a.user_agent, c.flags, c.labels,
  (select array_agg(d->>'path') from jsonb_array_elements(c.diff) d) as paths, c.request_digest, c.before_digest,
  c.after_digest, c.deleted`;
/** `limit 1` holds the planner to one index lookup per row. */
const JOINS = `
  join clusters k on k.id = c.cluster_id
  left join lateral (select * from users where cluster_id = $1 and id = c.user_id limit 1) u on true
  left join lateral (select username from users where cluster_id = $1 and id = c.impersonated_user_id limit 1) i on true
  left join lateral (select user_agent from user_agents where cluster_id = $1 and id = c.user_agent_id limit 1) a on true`;

/** The kinds of objects whose status says what was deployed. */
const RECORDS = `c.api_group in ('argoproj.io', 'kustomize.toolkit.fluxcd.io') and c.resource in ('applications', 'kustomizations')`;

/**
 * The changes after `seq`, in the order of commit, up to `until`, at most about `limit`; `last` is where to go on. Of
 * status only what a GitOps controller records, and what people wrote.
 */
export async function findSubjectsAfter(
  client: ClientBase,
  clusterID: number,
  seq: string,
  until: string,
  limit: number,
): Promise<{ rows: SubjectRow[]; last: string | undefined }> {
  const window = await client.query<{ last: string | null }>({
    name: 'subjects-window',
    text: `select max(seq) as last from (
             select seq from changes where cluster_id = $1 and seq > $2 and seq <= $3 order by seq limit $4) w`,
    values: [clusterID, seq, until, limit],
  });
  const last = window.rows[0]?.last ?? undefined;
  if (last === undefined) return { rows: [], last };
  const { rows } = await client.query<SubjectRow>({
    name: 'subjects-after',
    text: `select ${COLUMNS} from changes c ${JOINS}
            where c.cluster_id = $1 and c.seq > $2 and c.seq <= $3
              and (c.class <> 'status' or ${RECORDS} or u.username not like 'system:%')
            order by c.seq, c.at, c.change_id`,
    values: [clusterID, seq, last],
  });
  return { rows, last };
}

/** Changes by their keys; those that are gone are left out. */
export async function findSubjects(
  client: ClientBase,
  clusterID: number,
  keys: readonly ChangeKey[],
): Promise<SubjectRow[]> {
  if (keys.length === 0) return [];
  const { rows } = await client.query<SubjectRow>({
    name: 'subjects-by-key',
    text: `select ${COLUMNS} from unnest($2::timestamptz[], $3::uuid[]) as q (at, id)
             join changes c on c.cluster_id = $1 and c.at = q.at and c.change_id = q.id ${JOINS}`,
    values: [clusterID, keys.map(({ at }) => formatMicros(at)), keys.map(({ changeID }) => changeID)],
  });
  return rows;
}

export function keyOf(row: SubjectRow): ChangeKey {
  return { changeID: row.change_id, at: Number(row.micros) };
}

/** Subjects with the bodies that their marks are read from. Those of controllers need none. */
export async function readSubjects(
  client: ClientBase,
  clusterID: number,
  rows: readonly SubjectRow[],
  bodyCache: BodyCache,
): Promise<
  Map<SubjectRow, { subject: Subject; object: JsonObject | undefined; request: JsonObject | undefined }>
> {
  const wanted = rows.filter((row) => row.class !== 'derived' && row.class !== 'access');
  const digests = wanted.flatMap((row) => {
    const shown = row.deleted
      ? (row.before_digest ?? row.after_digest)
      : (row.after_digest ?? row.before_digest);
    return [shown, row.request_digest].flatMap((digest) => (digest ? [digest.toString('hex')] : []));
  });
  const bodies = await bodyCache.load(client, clusterID, digests);
  return new Map(
    rows.map((row) => {
      const object = row.deleted
        ? (bodyOf(bodies, row.before_digest) ?? bodyOf(bodies, row.after_digest))
        : (bodyOf(bodies, row.after_digest) ?? bodyOf(bodies, row.before_digest));
      const request = bodyOf(bodies, row.request_digest);
      return [row, { subject: subjectOf(row, object, request), object, request }];
    }),
  );
}

export function subjectOf(
  row: SubjectRow,
  object: JsonObject | undefined,
  request: JsonObject | undefined,
): Subject {
  const annotations = metadataOf(object)?.annotations;
  const user: UserInfo = {
    username: row.username,
    ...(row.user_uid !== null && { uid: row.user_uid }),
    ...(row.groups && { groups: row.groups }),
    ...(row.extra && { extra: row.extra }),
  };
  const texts: Record<string, string> = {};
  if (isJsonObject(annotations))
    for (const [key, value] of Object.entries(annotations)) if (typeof value === 'string') texts[key] = value;
  return {
    changeID: row.change_id,
    cluster: row.cluster,
    at: Number(row.micros),
    class: row.class,
    kind: row.kind,
    outcome: row.outcome,
    verb: row.verb,
    subresource: row.subresource ?? undefined,
    key: { apiGroup: row.api_group, resource: row.resource, namespace: row.namespace, name: row.name },
    objectKind: typeof object?.kind === 'string' ? object.kind : undefined,
    user,
    impersonatedUser:
      row.impersonated_username === null ? undefined : { username: row.impersonated_username },
    userAgent: row.user_agent ?? undefined,
    flags: row.flags ?? [],
    labels: row.labels ?? [],
    annotations: texts,
    paths: row.paths ?? undefined,
    manifestDigest: texts[COMMIT_ANNOTATION] === undefined ? undefined : sentManifest(object, request),
  };
}

/** What the writer sent as a whole: the request where it is one object, else what kubectl says it applied. */
function sentManifest(object: JsonObject | undefined, request: JsonObject | undefined): string | undefined {
  if (request && typeof request.kind === 'string' && isJsonObject(request.metadata))
    return manifestDigest(request);
  const annotations = metadataOf(object)?.annotations;
  const applied =
    isJsonObject(annotations) && annotations['kubectl.kubernetes.io/last-applied-configuration'];
  if (typeof applied !== 'string') return undefined;
  try {
    const manifest: unknown = JSON.parse(applied);
    return isJsonObject(manifest as never) ? manifestDigest(manifest as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}
