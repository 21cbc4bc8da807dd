import { objectID } from '../identity.js';
import { type Attribution, type Case, describeObject, type RecordedChange } from './attribution.js';
import { controllerOf, removes, sameLife } from './causes.js';
import { earliest } from './order.js';
import { neverSeen, ownerFinding } from './owner-chain.js';
import { namespaceKey } from './related-objects.js';
import { before, describeChange, type Finding, rootAt, rootOf, setOffBy, unresolved } from './trace.js';

/** One object of a deletecollection: whoever asked for the collection's deletion deleted it. */
export function byCollection(c: Case): Attribution {
  if (!c.collection) {
    return unresolved(c, 'the deletecollection that it belongs to is not recorded', {
      rule: 'collection',
      root: rootOf(c.subject),
    });
  }
  // A collection that goes with its namespace has the namespace as root, and so have its items.
  const root = c.attributionOf(c.collection.changeID)?.root ?? rootOf(c.collection);
  return setOffBy(c, c.collection, { rule: 'collection', root });
}

/**
 * The end of an object that was asked to go earlier: its last finalizer came off, or its kubelet reported it stopped.
 * The first request of this life of the object is meant, since the later ones found it going already.
 */
export function byDeletionRequest(c: Case, rule: 'finalizer' | 'termination'): Attribution {
  const finding: Finding = { rule, root: rootOf(c.subject) };
  const request = deletionRequest(c);
  if (request) return setOffBy(c, request, finding);
  const what = describeObject(c.subject.key);
  return unresolved(c, `the request that deleted ${what} is not recorded; only its end is`, finding);
}

/** The request that set the deletion of the subject's object going; undefined when none is recorded. */
export function deletionRequest(c: Case): RecordedChange | undefined {
  const { subject } = c;
  const own = before(c, c.own);
  const born = own.findIndex((change) => change.kind === 'create' && sameLife(change.uid, subject.uid));
  const life = born < 0 ? own : own.slice(0, born);
  return earliest(
    life.filter(
      (change) => removes(change) && change.kind !== 'finalizer_removal' && sameLife(change.uid, subject.uid),
    ),
  );
}

/** A kubelet deletes pods whose grace period is over. A mirror pod, owned by its Node, shows a manifest on the node's disk. */
export function byKubelet(c: Case): Attribution {
  const { subject, owners } = c;
  if (subject.key.resource !== 'pods' || subject.subresource !== undefined) return upkeep(c);
  if (owners[0]?.kind === 'Node') {
    const { root, path } = ownerFinding(c);
    const reason = `a mirror of a static pod: its manifest lies on the disk of node ${owners[0].name ?? '(unknown)'}, which the API doesn't see`;
    return unresolved(c, reason, { rule: 'static_pod', root, ...(path && { path }) });
  }
  return removes(subject) ? byDeletionRequest(c, 'termination') : upkeep(c);
}

/** The garbage collector removes what an owner leaves behind (pkg/controller/garbagecollector); the topmost one that went is the root. */
export function byGarbageCollection(c: Case): Attribution {
  const finding: Finding = { ...ownerFinding(c), rule: 'garbage_collection', content: undefined, notes: [] };
  const own = deletionRequest(c);
  // An object with foreground deletion is deleted by someone and then freed by the collector.
  if (own && c.subject.kind !== 'delete')
    return setOffBy(c, own, { ...finding, rule: 'finalizer', root: rootOf(c.subject) });
  let cause: RecordedChange | undefined;
  for (const owner of c.owners) {
    const removal = earliest(
      before(c, owner.changes).filter((change) => removes(change) && sameLife(change.uid, owner.uid)),
    );
    if (!removal) break;
    cause = removal;
    if (owner.object) finding.root = rootAt(owner.object.objectID, owner.object.key, owner.uid);
  }
  if (cause) return setOffBy(c, cause, finding);
  const nearest = c.owners[0];
  if (!nearest) return unresolved(c, 'the owner whose deletion set it off is not recorded', finding);
  const reason = nearest.object
    ? `the deletion of its owner ${describeObject(nearest.object.key)} is not recorded`
    : neverSeen(nearest);
  return unresolved(c, reason, finding);
}

/** What the namespace controller removes goes with its namespace. */
export function byNamespaceDeletion(c: Case): Attribution {
  const { subject } = c;
  const key = subject.key.resource === 'namespaces' ? subject.key : namespaceKey(subject.key.namespace);
  const id = objectID(key);
  const changes = before(c, subject.objectID === id ? c.own : (c.related.get(id) ?? []));
  const born = changes.findIndex((change) => change.kind === 'create');
  const request = earliest(
    (born < 0 ? changes : changes.slice(0, born)).filter((change) => change.kind === 'delete'),
  );
  const finding: Finding = { rule: 'namespace_deletion', root: rootAt(id, key, request?.uid) };
  return request
    ? setOffBy(c, request, finding)
    : unresolved(c, `the deletion of namespace ${key.name} is not recorded`, finding);
}

/** Pods removed because of their node: a taint, a lost node, a node that was deleted. */
export function byNode(c: Case): Attribution {
  const controller = controllerOf(c.subject);
  const finding: Finding = { ...ownerFinding(c), rule: 'node' };
  const changes = [...c.related.values()].flat().filter((change) => change.key.resource === 'nodes');
  const cause = before(c, changes).find(
    (change) => removes(change) || change.kind === 'cordon' || change.kind === 'update',
  );
  // Tolerations delay an eviction, by 300 seconds unless the pod says otherwise.
  if (cause && (removes(cause) || c.subject.at - cause.at <= 10 * 60 * 1e6))
    return setOffBy(c, cause, finding);
  return unresolved(
    c,
    `${controller} removed it because of its node; no change of the node is recorded that explains why`,
    finding,
  );
}

/** Bookkeeping that a controller does on an object by itself. */
export function upkeep(c: Case): Attribution {
  return {
    state: 'resolved',
    rule: 'upkeep',
    root: rootOf(c.subject),
    evidence: {
      path: [describeObject(c.subject.key)],
      notes: [
        `${describeChange(c.subject)} is its own upkeep; it follows from nobody's change in particular`,
      ],
    },
  };
}
