import {
  type Attribution,
  type Case,
  type ChangeReference,
  describeObject,
  type OwnerLink,
  type RecordedChange,
  SIBLING_WINDOW,
} from './attribution.js';
import { controllerOf, givesContent, removes, sameLife, spreads, touches } from './causes.js';
import { earliest, isLater, latest, precedes } from './order.js';
import { revisionsOf } from './related-objects.js';
import { before, describeChange, type Finding, referenceOf, rootAt, setOffBy, unresolved } from './trace.js';

/** A rollout of something other than pods may pause this long between two steps, in microseconds. */
const STEP_WINDOW = 60 * 60 * 1e6;

/** A pod whose labels or owner change is no longer counted. */
const RELEASING_FIELDS = ['metadata.labels', 'metadata.ownerReferences'];

/** Controllers that replace pods in place: their own removal of a pod is a step towards its successor. */
const REPLACES_IN_PLACE = new Set(['statefulset-controller', 'daemon-set-controller']);

/**
 * Traces a change of an owned object: the content comes from the root's last template change, the trigger is the
 * newest change that made the nearest owner's controller act - of the owner, or the loss of another object it owns.
 */
export function byOwnerChain(c: Case): Attribution {
  const { subject, owners } = c;
  const finding = ownerFinding(c);
  const causes = before(c, subject.key.resource === 'pods' ? podCauses(c) : dependentCauses(c));
  const exact = causes.find(
    (cause) => cause.objectID === subject.objectID && removes(cause) && subject.kind === 'create',
  );
  const cause = exact ?? causes[0];
  const missing = owners.find((owner) => !owner.object);
  if (!cause) return unresolved(c, noCause(c, missing), finding);

  finding.rivals = causes.filter(
    (rival) => rival !== cause && cause.at - rival.at < 60 * 1e6 && !givesWay(rival, cause),
  );
  if (spreads(cause) === 'maybe')
    finding.notes!.push(`what ${describeChange(cause)} changed is not recorded`);
  const result = setOffBy(c, cause, finding);
  if (!isTimely(c, cause, result.trigger)) {
    const minutes = Math.round((subject.at - cause.at) / 60e6);
    const reason = `nothing recorded shortly before explains it; the last change that could, ${describeChange(cause)}, was ${minutes} minutes earlier`;
    return unresolved(c, reason, { ...finding, rivals: [cause] });
  }
  if (missing && result.state === 'resolved') {
    return { ...result, state: 'unresolved', reason: neverSeen(missing) };
  }
  return result;
}

/** The root and content that an owner chain gives, whatever set the change off. */
export function ownerFinding(c: Case): Finding {
  const { subject, owners } = c;
  const top = owners.at(-1);
  const path = [
    describeObject(subject.key),
    ...owners.map((owner) =>
      owner.object
        ? describeObject(owner.object.key)
        : `${owner.kind ?? 'owner'} ${owner.name ?? '(unknown)'}`,
    ),
  ];
  const notes: string[] = [];
  const content = top?.object ? contentOf(c, top, notes) : undefined;
  const root = top?.object ? rootAt(top.object.objectID, top.object.key, top.uid) : undefined;
  return { rule: 'owner_chain', root, path, content, notes };
}

export function neverSeen(owner: OwnerLink): string {
  return `owner ${owner.kind ?? 'object'} ${owner.name ?? '(unknown)'} (uid ${owner.uid}) has no recorded history`;
}

function noCause(c: Case, missing: OwnerLink | undefined): string {
  if (missing) return neverSeen(missing);
  const names = c.owners.map((owner) => describeObject(owner.object!.key)).join(' or ');
  const later = c.owners.some((owner) =>
    owner.changes.some((change) => sameLife(change.uid, owner.uid) && spreads(change) !== 'no'),
  );
  return later
    ? `the recorded changes of ${names} that could have set it off all come after it`
    : `no change of ${names} that could have set it off is recorded`;
}

function podCauses(c: Case): RecordedChange[] {
  const { subject } = c;
  const controller = controllerOf(subject);
  const causes = ownerChanges(c).filter(
    (change) => spreads(change) !== 'no' || (removes(subject) && removes(change)),
  );
  if (subject.kind === 'create') {
    causes.push(...lostSiblings(c, controller));
    if (controller === 'daemon-set-controller') causes.push(...nodeCreations(c));
  } else {
    // Adopting and releasing follow from what someone did to the pod's labels or owner.
    causes.push(...c.own.filter((change) => change.class === 'change' && sameLife(change.uid, subject.uid)));
  }
  return causes;
}

function dependentCauses(c: Case): RecordedChange[] {
  const { subject } = c;
  const spreading = subject.kind === 'create' || subject.kind === 'scale' || touches(subject, ['spec']);
  const owners = ownerChanges(c).filter((change) =>
    removes(change) ? removes(subject) : !spreading || spreads(change) !== 'no',
  );
  return [...owners, ...c.own.filter((change) => change.class === 'change')];
}

/** Changes of the nearest owner by anyone but the controller that is being explained. */
function ownerChanges(c: Case): RecordedChange[] {
  const nearest = c.owners[0]!;
  const controller = controllerOf(c.subject);
  return nearest.changes.filter(
    (change) =>
      sameLife(change.uid, nearest.uid) &&
      change.class !== 'status' &&
      change.class !== 'access' &&
      controllerOf(change) !== controller,
  );
}

/** The sibling that has been missing longest when the subject was created: lost, and not replaced by then. */
function lostSiblings(c: Case, controller: string | undefined): RecordedChange[] {
  const inPlace = REPLACES_IN_PLACE.has(controller ?? '');
  const missing = new Map<string, RecordedChange>();
  const earlier = before(c, c.siblings).sort((a, b) => (isLater(a, b) ? 1 : isLater(b, a) ? -1 : 0));
  for (const change of earlier) {
    const byController = controllerOf(change) === controller;
    if (
      change.kind === 'create' &&
      byController &&
      precedes(change, c.subject)?.by !== 'time_within_tolerance'
    ) {
      const [oldest] = missing.keys();
      // A StatefulSet's pod comes back under its own name; elsewhere any pod makes good for any.
      const named = controller === 'statefulset-controller' || missing.has(change.objectID);
      const replaced = named ? change.objectID : oldest;
      if (replaced !== undefined) missing.delete(replaced);
    }
    const lost = removes(change) || (change.class === 'change' && touches(change, RELEASING_FIELDS));
    // The request that began it is the cause; what ends it (a kubelet, a finalizer) only carries it out.
    if (lost && (inPlace || !byController) && !missing.has(change.objectID))
      missing.set(change.objectID, change);
  }
  const exact = missing.get(c.subject.objectID);
  return exact ? [exact] : [...missing.values()].slice(0, 1);
}

function nodeCreations(c: Case): RecordedChange[] {
  const creations: RecordedChange[] = [];
  for (const changes of c.related.values()) {
    for (const change of changes)
      if (change.key.resource === 'nodes' && change.kind === 'create') creations.push(change);
  }
  return creations;
}

/** An owner's creation is no rival of what came later, nor is a step of the same trace. */
function givesWay(rival: RecordedChange, cause: RecordedChange): boolean {
  return rival.class === 'derived' || rival.objectID === cause.objectID;
}

/**
 * Controllers act within moments. What happens long after is a step of something still under way, which the steps in
 * between show; or it has a cause that no API request tells (a failed pod), and then nobody is to be named.
 */
function isTimely(c: Case, cause: RecordedChange, trigger: ChangeReference | undefined): boolean {
  const { subject } = c;
  // A Job makes its pods one after the other, until as many have finished as it wants.
  if (c.owners[0]?.object?.key.resource === 'jobs') return true;
  const window = subject.key.resource === 'pods' ? SIBLING_WINDOW : STEP_WINDOW;
  if (subject.at - cause.at <= window) return true;
  const controller = controllerOf(subject);
  return before(c, [...c.siblings, ...c.own]).some(
    (step) =>
      subject.at - step.at <= window &&
      controllerOf(step) === controller &&
      trigger !== undefined &&
      c.attributionOf(step.changeID)?.trigger?.changeID === trigger.changeID,
  );
}

/**
 * The change that gave the root the template in force when the branch towards the subject was made: a ReplicaSet or a
 * ControllerRevision stands for one template. After a rollback the branch is an old one, and so is the content.
 */
function contentOf(c: Case, root: OwnerLink, notes: string[]): ChangeReference | undefined {
  const anchor = contentAnchor(c, notes);
  if (!anchor) return undefined;
  const candidates = root.changes.filter(
    (change) => sameLife(change.uid, root.uid) && precedes(change, anchor),
  );
  const content = latest(candidates.filter((change) => givesContent(change) === 'yes'));
  const doubt = latest(candidates.filter((change) => givesContent(change) === 'maybe'));
  if (doubt && (!content || isLater(doubt, content))) {
    notes.push(`${describeChange(doubt)} may have changed the content; what it changed is not recorded`);
  }
  if (!content)
    notes.push(`the change that gave ${describeObject(root.object!.key)} its content is not recorded`);
  return content && referenceOf(content);
}

/**
 * The change that fixed which of its root's templates the subject follows: the creation of the ReplicaSet or Job below
 * the root, or of the ControllerRevision in the pod's label; failing these, of the subject's own object.
 */
export function contentAnchor(c: Case, notes: string[] = []): RecordedChange | undefined {
  const below = c.owners.at(-2);
  if (below) {
    const creation = earliest(
      below.changes.filter((change) => change.kind === 'create' && sameLife(change.uid, below.uid)),
    );
    if (!creation)
      notes.push(
        `the creation of ${below.object ? describeObject(below.object.key) : 'its owner'} is not recorded`,
      );
    return creation;
  }
  for (const { objectID, key } of revisionsOf(c)) {
    const creation = latest(
      (c.related.get(objectID) ?? []).filter(
        (change) => change.kind === 'create' && precedes(change, c.subject),
      ),
    );
    if (creation) return creation;
    notes.push(
      `the creation of ${describeObject(key)} is not recorded; the last template change before this is named`,
    );
  }
  if (c.subject.kind === 'create') return c.subject;
  const creation = before(c, c.own).find(
    (change) => change.kind === 'create' && sameLife(change.uid, c.subject.uid),
  );
  if (!creation) notes.push(`the creation of ${describeObject(c.subject.key)} is not recorded`);
  return creation;
}
