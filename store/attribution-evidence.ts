import type { ClientBase } from 'pg';
import {
  type Attribution,
  type Autoscaler,
  type Case,
  type OwnerLink,
  type RecordedChange,
  SIBLING_WINDOW,
} from '../core/attribution/attribution.js';
import { contentAnchor } from '../core/attribution/owner-chain.js';
import {
  needsAutoscalers,
  needsBodies,
  needsClusterRoles,
  relatedObjects,
} from '../core/attribution/related-objects.js';
import type { Json, JsonObject } from '../core/audit-event.js';
import { isJsonObject } from '../core/classify.js';
import type { ObjectKey } from '../core/identity.js';
import type { BodyCache } from './body-cache.js';
import {
  findChangesNear,
  findClusterRoleChanges,
  findCollections,
  findHistories,
  findSiblings,
  findTemplateChanges,
  type HistoryQuery,
  type RecordedRow,
  recordedChange,
} from './recorded-changes.js';
import { findHeads } from './versions.js';

/** How far after a change its causes' times may lie when clocks of apiservers differ; revisions then tell the order. */
const SKEW = 60 * 1e6;
/** Questions about one object that lie within this are asked once. */
const BUCKET = 10 * 1e6;
const MAX_CLIMB = 8;

/**
 * Gathers what may explain each of these changes, with a fixed number of statements however many they are. Attributions
 * in `decided` are taken before those in the store, so that a batch can build on itself.
 */
export async function gatherCases(
  client: ClientBase,
  clusterID: number,
  rows: readonly RecordedRow[],
  bodyCache: BodyCache,
  decided: Map<string, Attribution>,
): Promise<Case[]> {
  const subjects = rows.map((row) => ({ row, subject: recordedChange(row) }));
  const chains = await findChains(client, clusterID, rows);
  const bodies = await bodyCache.load(
    client,
    clusterID,
    subjects.filter(({ subject }) => needsBodies(subject)).flatMap(({ row }) => digestsOf(row)),
  );
  const partial = subjects.map(({ row, subject }, i) => {
    const before = bodyOf(bodies, row.before_digest);
    const after = bodyOf(bodies, row.after_digest);
    return {
      row,
      subject,
      before,
      after,
      chain: chains[i]!.links,
      related: relatedObjects({ subject, before, after }),
    };
  });

  const wanted = new Map<string, HistoryQuery>();
  for (const { subject, chain, related } of partial) {
    want(wanted, subject.objectID, subject.at);
    for (const link of chain) if (link.objectID) want(wanted, link.objectID, subject.at);
    for (const { objectID } of related) want(wanted, objectID, subject.at);
  }
  const histories = await findHistories(client, clusterID, [...wanted.values()]);
  merge(histories, await findChangesNear(client, clusterID, firstSights(chains)));
  const siblings = await findSiblings(client, clusterID, siblingQueries(partial));
  const collections = await findCollections(
    client,
    clusterID,
    subjects
      .filter(({ subject }) => subject.flags.includes('item_of_collection'))
      .map(({ row, subject }) => ({
        changeID: subject.changeID,
        at: subject.at,
        eventDigest: row.event_digest,
      })),
  );
  const autoscalers = await findAutoscalers(
    client,
    clusterID,
    subjects.map(({ subject }) => subject),
    bodyCache,
  );
  const roleSubjects = subjects
    .filter(({ subject }) => needsClusterRoles(subject))
    .map(({ subject }) => subject.at);
  const clusterRoles =
    roleSubjects.length === 0
      ? []
      : await findClusterRoleChanges(
          client,
          clusterID,
          Math.min(...roleSubjects) - SKEW,
          Math.max(...roleSubjects) + SKEW,
        );

  const cases = partial.map(
    ({ subject, before, after, chain, related }): Case => ({
      subject,
      before,
      after,
      own: histories.get(subject.objectID) ?? [],
      owners: chain.map(
        (link): OwnerLink => ({
          uid: link.uid,
          kind: link.kind,
          name: link.name,
          object: link.objectID && link.key ? { objectID: link.objectID, key: link.key } : undefined,
          changes: (link.objectID && histories.get(link.objectID)) || [],
        }),
      ),
      siblings: (chain[0] && siblings.get(chain[0].uid)) ?? [],
      related: new Map(related.map(({ objectID }) => [objectID, histories.get(objectID) ?? []])),
      collection: collections.get(subject.changeID),
      autoscalers: autoscalers.get(subject.key.namespace) ?? [],
      clusterRoles,
      attributionOf: (changeID) => decided.get(changeID),
    }),
  );
  await addTemplateChanges(client, clusterID, cases);
  await loadAttributions(client, clusterID, cases, decided);
  return cases;
}

interface ChainLink {
  uid: string;
  kind: string | undefined;
  name: string | undefined;
  objectID: string | undefined;
  key: ObjectKey | undefined;
  firstSeen: number | undefined;
}

/** An object's first sight, and its owners from the nearest up. */
interface Chain {
  born: { objectID: string; at: number } | undefined;
  links: ChainLink[];
}

interface ChainRow {
  i: string;
  depth: number;
  object_id: string;
  owner_uid: string | null;
  owner_kind: string | null;
  owner_name: string | null;
  first_seen: string;
  api_group: string | null;
  resource: string | null;
  namespace: string | null;
  name: string | null;
}

/** Each change's owners, up to the first one without an owner or never seen. */
async function findChains(
  client: ClientBase,
  clusterID: number,
  rows: readonly RecordedRow[],
): Promise<Chain[]> {
  if (rows.length === 0) return [];
  const { rows: found } = await client.query<ChainRow>({
    name: 'owner-chains',
    text: `with recursive chain as (
             select q.i, 0 as depth, s.* from unnest($2::text[], $3::uuid[]) with ordinality as q (uid, object_id, i)
              cross join lateral (
                select object_id, owner_uid, owner_kind, owner_name, seen_at from object_uids
                 where cluster_id = $1 and uid = q.uid
                union all
                (select object_id, owner_uid, owner_kind, owner_name, seen_at from object_uids
                  where q.uid is null and cluster_id = $1 and object_id = q.object_id order by seen_at desc limit 1)) s
             union all
             select c.i, c.depth + 1, o.object_id, o.owner_uid, o.owner_kind, o.owner_name, o.seen_at
               from chain c join object_uids o on o.cluster_id = $1 and o.uid = c.owner_uid
              where c.depth < ${MAX_CLIMB})
           select c.i, c.depth, c.object_id, c.owner_uid, c.owner_kind, c.owner_name,
                  (extract(epoch from c.seen_at) * 1000000)::bigint as first_seen,
                  o.api_group, o.resource, o.namespace, o.name
             from chain c
             left join lateral (select * from objects where cluster_id = $1 and id = c.object_id limit 1) o on true
            order by c.i, c.depth`,
    values: [clusterID, rows.map((row) => row.uid), rows.map((row) => row.object_id)],
  });
  const steps: ChainRow[][] = rows.map(() => []);
  for (const row of found) steps[Number(row.i) - 1]!.push(row);
  return steps.map((own) => {
    const links: ChainLink[] = [];
    const born = own[0] && { objectID: own[0].object_id, at: Number(own[0].first_seen) };
    for (const [depth, step] of own.entries()) {
      if (step.owner_uid === null) break;
      const owner = own[depth + 1];
      links.push({
        uid: step.owner_uid,
        kind: step.owner_kind ?? undefined,
        name: step.owner_name ?? undefined,
        objectID: owner?.object_id,
        key:
          owner?.resource == null
            ? undefined
            : {
                apiGroup: owner.api_group!,
                resource: owner.resource,
                namespace: owner.namespace!,
                name: owner.name!,
              },
        firstSeen: owner && Number(owner.first_seen),
      });
    }
    return { born, links };
  });
}

function want(wanted: Map<string, HistoryQuery>, objectID: string, at: number): void {
  const until = Math.ceil(at / BUCKET) * BUCKET + SKEW;
  wanted.set(`${objectID} ${until}`, { objectID, until });
}

/** Where to look for the creations of all objects involved: they may lie far before the latest changes. */
function firstSights(chains: Chain[]): Array<{ objectID: string; at: number }> {
  const sights = new Map<string, { objectID: string; at: number }>();
  for (const { born, links } of chains) {
    if (born) sights.set(`${born.objectID} ${born.at}`, born);
    for (const { objectID, firstSeen } of links) {
      if (objectID && firstSeen !== undefined)
        sights.set(`${objectID} ${firstSeen}`, { objectID, at: firstSeen });
    }
  }
  return [...sights.values()];
}

function siblingQueries(
  partial: ReadonlyArray<{ subject: RecordedChange; chain: ChainLink[] }>,
): Array<{ ownerUid: string; since: number; until: number }> {
  const queries = new Map<string, { ownerUid: string; since: number; until: number }>();
  for (const { subject, chain } of partial) {
    if (subject.key.resource !== 'pods' || !chain[0]) continue;
    const since = subject.at - SIBLING_WINDOW;
    const until = subject.at + SKEW;
    const known = queries.get(chain[0].uid);
    if (known) {
      known.since = Math.min(known.since, since);
      known.until = Math.max(known.until, until);
    } else {
      queries.set(chain[0].uid, { ownerUid: chain[0].uid, since, until });
    }
  }
  return [...queries.values()];
}

/** The content of an old branch may come from long before the latest changes of its root. */
async function addTemplateChanges(client: ClientBase, clusterID: number, cases: Case[]): Promise<void> {
  const wanted = new Map<string, HistoryQuery>();
  for (const c of cases) {
    const root = c.owners.at(-1);
    const anchor = root?.object && contentAnchor(c);
    if (root?.object && anchor) want(wanted, root.object.objectID, anchor.at);
  }
  const found = await findTemplateChanges(client, clusterID, [...wanted.values()]);
  for (const c of cases) {
    const root = c.owners.at(-1);
    const more = root?.object && found.get(root.object.objectID);
    if (root && more) root.changes = union(root.changes, more);
  }
}

/** Autoscalers of the namespaces where one has scaled something, by namespace. */
async function findAutoscalers(
  client: ClientBase,
  clusterID: number,
  subjects: RecordedChange[],
  bodyCache: BodyCache,
): Promise<Map<string, Autoscaler[]>> {
  const scaled = subjects.filter(needsAutoscalers);
  const found = new Map<string, Autoscaler[]>();
  if (scaled.length === 0) return found;
  const { rows } = await client.query<{
    id: string;
    api_group: string;
    resource: string;
    namespace: string;
    name: string;
  }>({
    name: 'autoscalers',
    text: `select id, api_group, resource, namespace, name from objects
            where cluster_id = $1 and namespace = any($2::text[]) and resource = 'horizontalpodautoscalers' and name <> ''`,
    values: [clusterID, [...new Set(scaled.map((subject) => subject.key.namespace))]],
  });
  const ids = rows.map((row) => row.id);
  const heads = await findHeads(client, clusterID, ids);
  const bodies = await bodyCache.load(
    client,
    clusterID,
    [...heads.values()].flatMap((head) => (head.after_digest ? [head.after_digest.toString('hex')] : [])),
  );
  const until = Math.max(...scaled.map((subject) => subject.at)) + SKEW;
  const histories = await findHistories(
    client,
    clusterID,
    ids.map((objectID) => ({ objectID, until })),
  );
  for (const row of rows) {
    const head = heads.get(row.id);
    const target = targetOf(bodyOf(bodies, head?.after_digest ?? null));
    if (!head || !target) continue;
    const scaler: Autoscaler = {
      objectID: row.id,
      key: { apiGroup: row.api_group, resource: row.resource, namespace: row.namespace, name: row.name },
      uid: head.uid ?? undefined,
      target,
      changes: histories.get(row.id) ?? [],
    };
    const own = found.get(row.namespace);
    if (own) own.push(scaler);
    else found.set(row.namespace, [scaler]);
  }
  return found;
}

function targetOf(autoscaler: JsonObject | undefined): Autoscaler['target'] | undefined {
  const spec = autoscaler?.spec;
  const target = isJsonObject(spec) ? spec.scaleTargetRef : undefined;
  if (!isJsonObject(target) || typeof target.kind !== 'string' || typeof target.name !== 'string')
    return undefined;
  return { kind: target.kind, name: target.name };
}

interface AttributionRow {
  change_id: string;
  state: Attribution['state'];
  rule: Attribution['rule'];
  reason: string | null;
  root_object_id: string | null;
  root_uid: string | null;
  api_group: string | null;
  resource: string | null;
  namespace: string | null;
  name: string | null;
  trigger_change_id: string | null;
  trigger_micros: string | null;
  content_change_id: string | null;
  content_micros: string | null;
  evidence: Attribution['evidence'];
}

/** Loads the attributions of everything that may be a cause and is itself a consequence. */
async function loadAttributions(
  client: ClientBase,
  clusterID: number,
  cases: Case[],
  decided: Map<string, Attribution>,
): Promise<void> {
  const ids = new Set<string>();
  const collect = (changes: Iterable<RecordedChange>) => {
    for (const change of changes) {
      const mayFollow =
        change.class === 'derived' ||
        change.kind === 'finalizer_removal' ||
        change.flags.includes('item_of_collection');
      if (mayFollow && !decided.has(change.changeID)) ids.add(change.changeID);
    }
  };
  for (const c of cases) {
    collect(c.own);
    collect(c.siblings);
    for (const owner of c.owners) collect(owner.changes);
    for (const changes of c.related.values()) collect(changes);
    if (c.collection) collect([c.collection]);
  }
  if (ids.size === 0) return;
  const { rows } = await client.query<AttributionRow>({
    name: 'attributions-of',
    text: `select a.change_id, a.state, a.rule, a.reason, a.root_object_id, a.root_uid, o.api_group, o.resource, o.namespace,
                  o.name, a.trigger_change_id, (extract(epoch from a.trigger_at) * 1000000)::bigint as trigger_micros,
                  a.content_change_id, (extract(epoch from a.content_at) * 1000000)::bigint as content_micros, a.evidence
             from attributions a
             left join lateral (select * from objects where cluster_id = $1 and id = a.root_object_id limit 1) o on true
            where a.cluster_id = $1 and a.change_id = any($2::uuid[])`,
    values: [clusterID, [...ids]],
  });
  for (const row of rows) decided.set(row.change_id, attributionOf(row));
}

function attributionOf(row: AttributionRow): Attribution {
  const attribution: Attribution = { state: row.state, rule: row.rule, evidence: row.evidence };
  if (row.reason !== null) attribution.reason = row.reason;
  if (row.root_object_id !== null) {
    attribution.root = {
      objectID: row.root_object_id,
      key: {
        apiGroup: row.api_group ?? '',
        resource: row.resource ?? '',
        namespace: row.namespace ?? '',
        name: row.name ?? '',
      },
    };
    if (row.root_uid !== null) attribution.root.uid = row.root_uid;
  }
  if (row.trigger_change_id !== null)
    attribution.trigger = { changeID: row.trigger_change_id, at: Number(row.trigger_micros) };
  if (row.content_change_id !== null)
    attribution.content = { changeID: row.content_change_id, at: Number(row.content_micros) };
  return attribution;
}

function digestsOf(row: RecordedRow): string[] {
  return [row.before_digest, row.after_digest].flatMap((digest) => (digest ? [digest.toString('hex')] : []));
}

function bodyOf(bodies: ReadonlyMap<string, Json>, digest: Buffer | null): JsonObject | undefined {
  const body = digest ? bodies.get(digest.toString('hex')) : undefined;
  return isJsonObject(body) ? body : undefined;
}

function merge(histories: Map<string, RecordedChange[]>, more: ReadonlyMap<string, RecordedChange[]>): void {
  for (const [id, changes] of more) histories.set(id, union(histories.get(id) ?? [], changes));
}

function union(known: readonly RecordedChange[], more: readonly RecordedChange[]): RecordedChange[] {
  const ids = new Set(known.map((change) => change.changeID));
  return [...known, ...more.filter((change) => !ids.has(change.changeID))];
}
