import type { ClientBase } from 'pg';
import { needsAttribution } from '../core/attribution/attribute.js';
import {
  type Attribution,
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
import { findAttributions } from './attribution.js';
import { findAutoscalers } from './autoscalers.js';
import type { BodyCache } from './body-cache.js';
import { type Chain, type ChainLink, findChains } from './owner-chains.js';
import {
  bodyOf,
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

/** How far after a change its causes' times may lie when clocks of apiservers differ; revisions then tell the order. */
const SKEW = 60 * 1e6;
/** Questions about one object that lie within this are asked once. */
const BUCKET = 10 * 1e6;

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
  const scaled = subjects.map(({ subject }) => subject).filter(needsAutoscalers);
  const until = Math.max(...scaled.map((subject) => subject.at)) + SKEW;
  const autoscalers = await findAutoscalers(client, clusterID, scaled, until, bodyCache);
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
      if (needsAttribution(change) && !decided.has(change.changeID)) ids.add(change.changeID);
    }
  };
  for (const c of cases) {
    collect(c.own);
    collect(c.siblings);
    for (const owner of c.owners) collect(owner.changes);
    for (const changes of c.related.values()) collect(changes);
    if (c.collection) collect([c.collection]);
  }
  for (const [id, attribution] of await findAttributions(client, clusterID, [...ids]))
    decided.set(id, attribution);
}

function digestsOf(row: RecordedRow): string[] {
  return [row.before_digest, row.after_digest].flatMap((digest) => (digest ? [digest.toString('hex')] : []));
}

function merge(histories: Map<string, RecordedChange[]>, more: ReadonlyMap<string, RecordedChange[]>): void {
  for (const [id, changes] of more) histories.set(id, union(histories.get(id) ?? [], changes));
}

function union(known: readonly RecordedChange[], more: readonly RecordedChange[]): RecordedChange[] {
  const ids = new Set(known.map((change) => change.changeID));
  return [...known, ...more.filter((change) => !ids.has(change.changeID))];
}
