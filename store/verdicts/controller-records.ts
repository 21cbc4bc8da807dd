import type { ClientBase } from 'pg';
import type { JsonObject } from '../../core/audit-event.js';
import { isJsonObject } from '../../core/classify.js';
import { objectID } from '../../core/identity.js';
import { actionsOf, actionsOfFlux, userOfEvent } from '../../core/links/application-actions.js';
import { isApplication, syncOfApplication } from '../../core/links/argocd-application.js';
import {
  type FluxSource,
  fluxSourceOf,
  isHelmRelease,
  isKustomization,
  sourceKeyOf,
  syncOfKustomization,
} from '../../core/links/flux-status.js';
import { field, text } from '../../core/links/json-field.js';
import type { RecordWrite, Sync } from '../../core/links/sync.js';
import { formatMicros } from '../../core/timestamp.js';
import type { BodyCache } from '../body-cache.js';
import { bodyOf } from '../recorded-changes.js';
import { type ActionRow, upsertActions } from './application-actions.js';
import type { SubjectRow } from './subjects.js';
import { findSyncsAround, type SyncRow, syncOf, upsertSyncs } from './syncs.js';

/** An Event is written beside the change that it tells of, in microseconds. */
const EVENT_WINDOW = 5 * 1e6;

/**
 * Reads from some changes what GitOps controllers recorded on their own objects, and what people asked them for, and
 * writes it to `syncs` and `application_actions`. Rows in the order of commit.
 * @returns the syncs, so that links within their time can be looked for again
 */
export async function recordControllers(
  client: ClientBase,
  clusterID: number,
  rows: readonly SubjectRow[],
  bodyCache: BodyCache,
): Promise<Sync[]> {
  const own = rows.filter((row) =>
    [isApplication, isKustomization, isHelmRelease].some((is) => is(keyOfRow(row))),
  );
  if (own.length === 0) return [];
  const bodies = await bodyCache.load(
    client,
    clusterID,
    own.flatMap((row) =>
      [row.before_digest, row.after_digest].flatMap((digest) => (digest ? [digest.toString('hex')] : [])),
    ),
  );
  const writes = own.map(
    (row): RecordWrite => ({
      changeID: row.change_id,
      at: Number(row.micros),
      objectID: row.object_id,
      key: keyOfRow(row),
      username: row.username,
      before: bodyOf(bodies, row.before_digest),
      after: bodyOf(bodies, row.after_digest),
      created: row.kind === 'create',
    }),
  );
  const told: Array<{ sync: Sync; recordedAt: number }> = [];
  const take = (sync: Sync | undefined, write: RecordWrite) => {
    if (sync) told.push({ sync: { ...sync, id: `${clusterID}-${sync.id}` }, recordedAt: write.at });
  };
  for (const write of writes) if (isApplication(write.key)) take(syncOfApplication(write), write);
  const kustomizations = writes.filter((write) => isKustomization(write.key));
  const sources = await findFluxSources(client, clusterID, kustomizations, bodyCache);
  const attempts = await findAttempts(client, clusterID, kustomizations);
  for (const write of kustomizations) {
    const attempted = text(field(write.after, 'status', 'lastAttemptedRevision'));
    const known = attempts.get(write.objectID);
    const begun = known && known.attempted === attempted ? known.begun : undefined;
    const sync = syncOfKustomization(write, sources.get(write.changeID), begun);
    if (sync && attempted !== undefined) attempts.set(write.objectID, { attempted, begun: sync.startedAt });
    take(sync, write);
  }
  await upsertSyncs(client, clusterID, told);
  await upsertActions(client, clusterID, await actionRows(client, clusterID, writes, bodyCache));
  return told.map(({ sync }) => sync);
}

function keyOfRow(row: SubjectRow): RecordWrite['key'] {
  return { apiGroup: row.api_group, resource: row.resource, namespace: row.namespace, name: row.name };
}

/** The source object of each Kustomization as it was at the time of the write, by change id. */
async function findFluxSources(
  client: ClientBase,
  clusterID: number,
  writes: readonly RecordWrite[],
  bodyCache: BodyCache,
): Promise<Map<string, FluxSource>> {
  const asked = writes.flatMap((write) => {
    const key = sourceKeyOf(write.after, write.key);
    return key ? [{ write, key, id: objectID(key) }] : [];
  });
  const versions = await findVersionsAt(
    client,
    clusterID,
    asked.map(({ id, write }) => ({ objectID: id, at: write.at })),
    bodyCache,
  );
  return new Map(
    asked.map(({ write, key, id }) => [
      write.changeID,
      fluxSourceOf(
        key.resource === 'gitrepositories' ? 'GitRepository' : key.resource,
        versions.get(`${id} ${write.at}`),
      ),
    ]),
  );
}

/** Objects as they were at times, by `objectID micros`. */
export async function findVersionsAt(
  client: ClientBase,
  clusterID: number,
  questions: ReadonlyArray<{ objectID: string; at: number }>,
  bodyCache: BodyCache,
): Promise<Map<string, JsonObject>> {
  const found = new Map<string, JsonObject>();
  if (questions.length === 0) return found;
  const { rows } = await client.query<{ object_id: string; micros: string; after_digest: Buffer | null }>({
    name: 'versions-at',
    text: `select q.object_id, (extract(epoch from q.at) * 1000000)::bigint as micros, c.after_digest
             from unnest($2::uuid[], $3::timestamptz[]) as q (object_id, at)
            cross join lateral (
              select after_digest from changes
               where cluster_id = $1 and object_id = q.object_id and at <= q.at and after_certainty is not null and not deleted
               order by at desc limit 1) c`,
    values: [
      clusterID,
      questions.map((question) => question.objectID),
      questions.map(({ at }) => formatMicros(at)),
    ],
  });
  const bodies = await bodyCache.load(
    client,
    clusterID,
    rows.flatMap((row) => (row.after_digest ? [row.after_digest.toString('hex')] : [])),
  );
  for (const row of rows) {
    const object = bodyOf(bodies, row.after_digest);
    if (object) found.set(`${row.object_id} ${row.micros}`, object);
  }
  return found;
}

/** The attempt that each Kustomization was known to be at before these writes. */
async function findAttempts(
  client: ClientBase,
  clusterID: number,
  writes: readonly RecordWrite[],
): Promise<Map<string, { attempted: string; begun: number }>> {
  const first = new Map<string, RecordWrite>();
  for (const write of writes) if (!first.has(write.objectID)) first.set(write.objectID, write);
  const rows: SyncRow[] = await findSyncsAround(
    client,
    clusterID,
    [...first.values()].map(({ key, at }) => ({
      engine: 'flux',
      namespace: key.namespace,
      name: key.name,
      at,
    })),
  );
  const attempts = new Map<string, { attempted: string; begun: number }>();
  for (const sync of rows.filter((row) => row.cluster_id === clusterID).map(syncOf)) {
    const known = attempts.get(sync.application.objectID);
    if (known && known.begun > sync.startedAt) continue;
    attempts.set(sync.application.objectID, {
      attempted: sync.sources[0]?.revision.split(' from ')[0] ?? '',
      begun: sync.startedAt,
    });
  }
  return attempts;
}

async function actionRows(
  client: ClientBase,
  clusterID: number,
  writes: readonly RecordWrite[],
  bodyCache: BodyCache,
): Promise<ActionRow[]> {
  const rows: ActionRow[] = [];
  for (const write of writes) {
    const ofArgocd = isApplication(write.key);
    const actions = ofArgocd ? actionsOf(write) : actionsOfFlux(write);
    const told =
      ofArgocd && actions.some((action) => action.username === undefined && action.automated !== true);
    const event = told ? await findActionEvent(client, clusterID, write, bodyCache) : undefined;
    for (const action of actions) {
      const initiator = action.username ?? (action.automated === true ? undefined : event?.username);
      rows.push({
        at: write.at,
        changeID: write.changeID,
        objectID: write.objectID,
        namespace: write.key.namespace,
        name: write.key.name,
        username: write.username,
        action: ofArgocd
          ? action
          : { ...action, kind: isHelmRelease(write.key) ? 'HelmRelease' : 'Kustomization' },
        initiator,
        initiatorEvidence:
          action.username !== undefined ? 'the operation names its initiator' : initiator && event?.evidence,
      });
    }
  }
  return rows;
}

/** The Event beside a write of an Application, by the same account, that names the user of Argo CD. */
async function findActionEvent(
  client: ClientBase,
  clusterID: number,
  write: RecordWrite,
  bodyCache: BodyCache,
): Promise<{ username: string; evidence: string } | undefined> {
  const { rows } = await client.query<{ request_id: string; digest: Buffer | null }>({
    name: 'action-events',
    text: `select e.request_id, coalesce(e.response_digest, e.request_digest) as digest
             from events e
             join objects o on o.cluster_id = e.cluster_id and o.id = e.object_id
             join users u on u.cluster_id = e.cluster_id and u.id = e.user_id
            where e.cluster_id = $1 and e.at >= $2 and e.at <= $3 and e.class = 'kube_event' and e.verb = 'create'
              and o.namespace = $4 and u.username = $5
            order by e.at limit 50`,
    values: [
      clusterID,
      formatMicros(write.at - EVENT_WINDOW),
      formatMicros(write.at + EVENT_WINDOW),
      write.key.namespace,
      write.username,
    ],
  });
  const bodies = await bodyCache.load(
    client,
    clusterID,
    rows.flatMap((row) => (row.digest ? [row.digest.toString('hex')] : [])),
  );
  for (const row of rows) {
    const event = row.digest && bodies.get(row.digest.toString('hex'));
    if (!event || !isJsonObject(event)) continue;
    const about = field(event, 'involvedObject');
    if (text(field(about, 'kind')) !== 'Application' || text(field(about, 'name')) !== write.key.name)
      continue;
    const username = userOfEvent(text(event.message) ?? '');
    if (username !== undefined)
      return { username, evidence: `an Event of ${write.username} names them (request ${row.request_id})` };
  }
  return undefined;
}
