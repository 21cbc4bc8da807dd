import { objectID } from '../identity.js';
import { type Attribution, type Case, describeObject, type RecordedChange } from './attribution.js';
import { controllerOf, givesContent, removes, sameLife } from './causes.js';
import {
  byCollection,
  byDeletionRequest,
  byGarbageCollection,
  byKubelet,
  byNamespaceDeletion,
  byNode,
  deletionRequest,
  upkeep,
} from './deletions.js';
import { byAggregatedRole, byEndpoints, byRelated } from './made-for.js';
import { isLater } from './order.js';
import { byOwnerChain, neverSeen, ownerFinding } from './owner-chain.js';
import { isNodeRemoval, namespaceKey } from './related-objects.js';
import {
  authorProblem,
  before,
  describeChange,
  type Finding,
  isConsequence,
  REACTION_WINDOW,
  referenceOf,
  rootAt,
  rootOf,
  setOffBy,
  setOffByNobody,
  unresolved,
} from './trace.js';

/** Controllers that write on their own account when nobody changed the object before. */
const UPKEEP = new Set([
  'kubelet',
  'kube-proxy',
  'apiserver',
  'node-controller',
  'node-ipam-controller',
  'resourcequota-controller',
  'disruption-controller',
  'ttl-controller',
  'attachdetach-controller',
  'bootstrap-signer',
  'service-cidrs-controller',
  'route-controller',
  'kube-scheduler',
  'selinux-warning-controller',
  'storage-version-migrator-controller',
]);

/** Whether a change needs an attribution: it is a consequence of another, or nobody in particular made it. */
export function needsAttribution(change: RecordedChange): boolean {
  return isConsequence(change) || change.flags.includes('item_of_collection') || isUnauthored(change);
}

function isUnauthored(change: RecordedChange): boolean {
  return (change.class === 'change' || change.class === 'access') && authorProblem(change) !== undefined;
}

/**
 * Traces a change to its root and to what set it off. The answer is `unresolved`, with a reason, wherever the evidence
 * doesn't tell; it is never a guess at who was near.
 */
export function attribute(c: Case): Attribution {
  const { subject } = c;
  if (subject.flags.includes('item_of_collection')) return byCollection(c);
  if (subject.kind === 'finalizer_removal') return byDeletionRequest(c, 'finalizer');
  if (isUnauthored(subject))
    return unresolved(c, authorProblem(subject)!, { rule: 'author', root: rootOf(subject) });
  const controller = controllerOf(subject);
  const { resource } = subject.key;
  switch (controller) {
    case 'kubelet':
      return byKubelet(c);
    case 'generic-garbage-collector':
      return byGarbageCollection(c);
    case 'namespace-controller':
      return byNamespaceDeletion(c);
    case 'horizontal-pod-autoscaler':
      return byAutoscaler(c);
    case 'cronjob-controller':
      return resource === 'jobs' ? bySchedule(c) : byOwnObject(c);
    case 'ttl-after-finished-controller':
    case 'token-cleaner':
    case 'legacy-service-account-token-cleaner':
      return setOffByNobody(c, { rule: 'expiry', root: rootOf(subject), content: ownContent(c) });
    case 'service-account-controller':
    case 'root-ca-cert-publisher':
      return byNamespaceCreation(c);
    case 'endpoint-controller':
    case 'endpointslice-controller':
    case 'endpointslicemirroring-controller':
      return byEndpoints(c);
    case 'clusterrole-aggregation-controller':
      return byAggregatedRole(c);
    case 'kube-scheduler':
      return bySchedulerWrite(c);
    default:
      break;
  }
  if (isNodeRemoval(controller) && resource === 'pods' && removes(subject)) return byNode(c);
  // What happens to an object that is on its way out follows from the request that it go.
  if (subject.kind === 'update' && deletionRequest(c)) return byDeletionRequest(c, 'finalizer');
  if (c.owners.length > 0) return byOwnerChain(c);
  const related = byRelated(c);
  if (related) return related;
  return byOwnObject(c);
}

function byAutoscaler(c: Case): Attribution {
  const { subject } = c;
  if (subject.key.resource === 'horizontalpodautoscalers') return upkeep(c);
  const matches = c.autoscalers.filter(
    (scaler) =>
      scaler.target.name === subject.key.name &&
      `${scaler.target.kind.toLowerCase()}s` === subject.key.resource &&
      !isGone(before(c, scaler.changes)),
  );
  const [scaler] = matches;
  const path = [describeObject(subject.key), ...matches.map((match) => describeObject(match.key))];
  if (!scaler || matches.length > 1) {
    const reason = scaler
      ? `several HorizontalPodAutoscalers scale ${describeObject(subject.key)}: ${matches.map((match) => match.key.name).join(', ')}`
      : `no HorizontalPodAutoscaler that scales ${describeObject(subject.key)} is recorded`;
    return unresolved(c, reason, { rule: 'autoscaler', root: rootOf(subject), path });
  }
  const content = before(c, scaler.changes).find(
    (change) => !isConsequence(change) && givesContent(change) === 'yes',
  );
  return setOffByNobody(c, {
    rule: 'autoscaler',
    path,
    root: rootAt(scaler.objectID, scaler.key, scaler.uid),
    content: content && referenceOf(content),
  });
}

/** Whether an object's last change, of some that are in order, took it away. */
function isGone(changes: readonly RecordedChange[]): boolean {
  return changes[0] !== undefined && removes(changes[0]);
}

function bySchedule(c: Case): Attribution {
  const finding: Finding = { ...ownerFinding(c), rule: 'schedule' };
  const owner = c.owners[0];
  if (!owner)
    return unresolved(c, 'the CronJob that it belongs to is not recorded', {
      ...finding,
      root: rootOf(c.subject),
    });
  if (!owner.object) return unresolved(c, neverSeen(owner), finding);
  return setOffByNobody(c, finding);
}

/** The default ServiceAccount and kube-root-ca.crt come with a namespace, and come back when someone removes or edits them. */
function byNamespaceCreation(c: Case): Attribution {
  const { subject } = c;
  const key = namespaceKey(subject.key.namespace);
  const id = objectID(key);
  const creation = before(c, c.related.get(id) ?? []).find((change) => change.kind === 'create');
  const undone = changeByAnother(c);
  // What happened to an earlier namespace of that name is over.
  if (undone && subject.at - undone.at <= REACTION_WINDOW && !(creation && isLater(creation, undone))) {
    return setOffBy(c, undone, { rule: 'own_object', root: rootOf(subject) });
  }
  const finding: Finding = { rule: 'namespace_creation', root: rootAt(id, key, creation?.uid) };
  if (creation && subject.kind === 'create') return setOffBy(c, creation, finding);
  const reason = creation
    ? 'nothing recorded in the minute before explains it'
    : `the creation of namespace ${key.name} is not recorded`;
  return unresolved(c, reason, finding);
}

/** The scheduler's bindings follow from the pod's creation; when it removes pods, it makes room for another. */
function bySchedulerWrite(c: Case): Attribution {
  const { subject } = c;
  if (subject.key.resource !== 'pods') return upkeep(c);
  const finding: Finding = { ...ownerFinding(c), rule: removes(subject) ? 'preemption' : 'binding' };
  finding.root ??= c.owners.length === 0 ? rootOf(subject) : undefined;
  if (removes(subject)) {
    return unresolved(
      c,
      'kube-scheduler removed it to make room for another pod; which one is not recorded',
      finding,
    );
  }
  const creation = before(c, c.own).find(
    (change) => change.kind === 'create' && sameLife(change.uid, subject.uid),
  );
  if (!creation)
    return unresolved(c, `the creation of ${describeObject(subject.key)} is not recorded`, finding);
  return setOffBy(c, creation, finding);
}

/** No owner: someone else's change of the same object shortly before is what the controller answered. */
function byOwnObject(c: Case): Attribution {
  const { subject } = c;
  const controller = controllerOf(subject);
  const cause = changeByAnother(c);
  const finding: Finding = { rule: 'own_object', root: rootOf(subject), content: ownContent(c) };
  if (cause && subject.at - cause.at <= REACTION_WINDOW) return setOffBy(c, cause, finding);
  if (controller && UPKEEP.has(controller)) return upkeep(c);
  const reason = cause
    ? `nothing recorded in the minute before explains it; the last change of it by another was ${describeChange(cause)}`
    : `no change of ${describeObject(subject.key)} by anyone else is recorded`;
  return unresolved(c, reason, finding);
}

/** The last change of the subject's object by anyone else. Only its end can bring about a creation. */
function changeByAnother(c: Case): RecordedChange | undefined {
  const controller = controllerOf(c.subject);
  return before(c, c.own).find(
    (change) => controllerOf(change) !== controller && (c.subject.kind !== 'create' || removes(change)),
  );
}

function ownContent(c: Case): ReturnType<typeof referenceOf> | undefined {
  const content = before(c, c.own).find((change) => !isConsequence(change) && givesContent(change) === 'yes');
  return content && referenceOf(content);
}
