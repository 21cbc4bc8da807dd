import { objectID } from '../identity.js';
import { type Attribution, type Case, describeObject, SIBLING_WINDOW } from './attribution.js';
import { controllerOf, givesContent, removes } from './causes.js';
import { changedPods, relatedObjects, serviceAccountOfToken, serviceKey } from './related-objects.js';
import {
  before,
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

/** Endpoints follow their Service and the pods it selects; the pods listed otherwise than before say which. */
export function byEndpoints(c: Case): Attribution {
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

export function byAggregatedRole(c: Case): Attribution {
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

/** Volumes, a StatefulSet's claims and tokens: the one object that they were made for, where it can be named. */
export function byRelated(c: Case): Attribution | undefined {
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
