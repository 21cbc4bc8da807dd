import { objectID } from '../identity.js';
import {
  type Attribution,
  type Case,
  describeObject,
  type RecordedChange,
  SIBLING_WINDOW,
} from './attribution.js';
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
import { isLater } from './order.js';
import { byOwnerChain, neverSeen, ownerFinding } from './owner-chain.js';
import {
  changedPods,
  isNodeRemoval,
  namespaceKey,
  relatedObjects,
  serviceAccountOfToken,
  serviceKey,
} from './related-objects.js';
import {
  authorProblem,
  before,
  describeChange,
  type Finding,
  isConsequence,
  referenceOf,
  rootAt,
  rootOf,
  setOffBy,
  setOffByNobody,
  unresolved,
} from './trace.js';

/** A controller answers someone's change of its own object within this, in microseconds; what comes later is upkeep. */
const REACTION_WINDOW = 60 * 1e6;

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

/** Endpoints follow their Service and the pods it selects; the pods listed otherwise than before say which. */
function byEndpoints(c: Case): Attribution {
  const { subject } = c;
  const key = serviceKey(subject);
  const id = objectID(key);
  const service = before(c, c.related.get(id) ?? []);
  const pods = changedPods(c).flatMap((pod) => c.related.get(objectID(pod)) ?? []);
  const content = service.find((change) => givesContent(change) === 'yes');
  const uid = service.find((change) => change.uid !== undefined)?.uid;
  const finding: Finding = {
    rule: 'endpoints',
    root: rootAt(id, key, uid),
    content: content && referenceOf(content),
  };
  const cause = before(c, [...service, ...pods]).find((change) =>
    change.key.resource === 'services' ? !isConsequence(change) : change.kind === 'create' || removes(change),
  );
  if (cause && subject.at - cause.at <= SIBLING_WINDOW) return setOffBy(c, cause, finding);
  if (service.length === 0 && pods.length === 0) {
    return unresolved(
      c,
      `no change of ${describeObject(key)}, nor of the pods it lists, is recorded`,
      finding,
    );
  }
  return setOffByNobody(c, {
    ...finding,
    notes: ['no change by anyone in the ten minutes before; pods became ready or not by themselves'],
  });
}

function byAggregatedRole(c: Case): Attribution {
  const finding: Finding = { rule: 'role_aggregation', root: rootOf(c.subject) };
  const own = before(c, c.own).filter((change) => controllerOf(change) !== controllerOf(c.subject));
  const causes = before(c, [...c.clusterRoles, ...own]).filter(
    (change) => c.subject.at - change.at <= REACTION_WINDOW,
  );
  const [cause, ...rivals] = causes;
  if (!cause) return unresolved(c, 'no change of a ClusterRole is recorded in the minute before', finding);
  return setOffBy(c, cause, {
    ...finding,
    rivals,
    path: [describeObject(c.subject.key), describeObject(cause.key)],
  });
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

/** Volumes, a StatefulSet's claims and tokens: the one object that they were made for, where it can be named. */
function byRelated(c: Case): Attribution | undefined {
  const { subject } = c;
  const token = serviceAccountOfToken(subject);
  const isVolume = subject.key.resource === 'persistentvolumes';
  const isClaim =
    subject.key.resource === 'persistentvolumeclaims' && controllerOf(subject) === 'statefulset-controller';
  if (!token && !isVolume && !isClaim) return undefined;
  const rule = token ? 'service_account_token' : isVolume ? 'volume' : 'owner_chain';
  const known = relatedObjects(c).filter(({ objectID: id }) => (c.related.get(id)?.length ?? 0) > 0);
  const [object] = known;
  if (!object)
    return isVolume
      ? undefined
      : unresolved(c, 'the object that it was made for has no recorded history', { rule, root: undefined });
  if (known.length > 1) {
    const names = known.map((item) => describeObject(item.key)).join(', ');
    return unresolved(c, `it may belong to any of ${names}`, { rule, root: undefined });
  }
  const changes = before(c, c.related.get(object.objectID)!);
  const cause = changes.find((change) => controllerOf(change) !== controllerOf(subject));
  const finding: Finding = { rule, root: rootAt(object.objectID, object.key, cause?.uid) };
  return cause
    ? setOffBy(c, cause, finding)
    : unresolved(c, `no change of ${describeObject(object.key)} before it is recorded`, finding);
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
