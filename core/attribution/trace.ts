import type { ObjectKey } from '../identity.js';
import {
  type Attribution,
  type AttributionEvidence,
  type AttributionRule,
  type Case,
  type ChangeReference,
  describeObject,
  type RecordedChange,
} from './attribution.js';
import { controllerOf } from './causes.js';
import { isLater, precedes } from './order.js';

/** A controller answers someone's change of its own object within this, in microseconds; what comes later is upkeep. */
export const REACTION_WINDOW = 60 * 1e6;

/** What a rule found, beside the cause itself. */
export interface Finding {
  rule: AttributionRule;
  root: Attribution['root'];
  path?: string[];
  content?: ChangeReference | undefined;
  rivals?: readonly RecordedChange[];
  notes?: string[];
}

export function referenceOf(change: RecordedChange): ChangeReference {
  return { changeID: change.changeID, at: change.at };
}

export function rootOf(change: RecordedChange): NonNullable<Attribution['root']> {
  return rootAt(change.objectID, change.key, change.uid);
}

export function rootAt(
  objectID: string,
  key: ObjectKey,
  uid: string | undefined,
): NonNullable<Attribution['root']> {
  return uid === undefined ? { objectID, key } : { objectID, key, uid };
}

/** Why nobody in particular can be named as the author of a change; undefined when its user says who. */
export function authorProblem(change: RecordedChange): string | undefined {
  if (change.username === '') return 'its audit event names no user';
  // k8s.io/apiserver/pkg/authentication/user: anonymous requests, and those of the former insecure port.
  if (change.username === 'system:anonymous' || change.username === 'system:unsecured') {
    return `it was made without authentication (${change.username})`;
  }
  return undefined;
}

/** `deployment-controller's update of replicasets prod/web-5d4` */
export function describeChange(change: RecordedChange): string {
  const who = controllerOf(change) ?? (change.username || 'nobody named');
  return `${who}'s ${change.kind.replaceAll('_', ' ')} of ${describeObject(change.key)}`;
}

/** Attributes the subject to `cause`, and past it to what set that off where the cause is itself a consequence. */
export function setOffBy(c: Case, cause: RecordedChange, finding: Finding): Attribution {
  const precedence = precedes(cause, c.subject);
  const evidence = evidenceOf(c, finding);
  if (precedence) evidence.order = precedence.by;
  if (precedence?.clockSkewSeconds !== undefined) evidence.clockSkewSeconds = precedence.clockSkewSeconds;
  const notes = evidence.notes ?? [];
  if (cause.outcome === 'unknown' || cause.outcome === 'panicked') {
    notes.push(
      `the outcome of ${describeChange(cause)} is ${cause.outcome === 'unknown' ? 'unknown' : 'a server panic'}`,
    );
  }
  if (notes.length > 0) evidence.notes = notes;

  const base = { rule: finding.rule, evidence, ...(finding.root && { root: finding.root }) };
  const content = finding.content;
  const found = c.attributionOf(cause.changeID);
  // Where only times tell the order, and they nearly agree, two changes could each seem to follow from the other.
  const known = found?.trigger?.changeID === c.subject.changeID ? undefined : found;
  if (!known) {
    const problem = isConsequence(cause)
      ? `${describeChange(cause)} set it off, and that is not attributed yet`
      : authorProblem(cause) && `${describeChange(cause)} set it off: ${authorProblem(cause)}`;
    return {
      ...base,
      ...(problem ? { state: 'unresolved', reason: problem } : { state: 'resolved' }),
      trigger: referenceOf(cause),
      ...(content && { content }),
    };
  }
  evidence.through = [cause.changeID, ...(known.evidence.through ?? [])];
  const inherited = content ?? (known.root?.objectID === finding.root?.objectID ? known.content : undefined);
  return {
    ...base,
    ...(known.state === 'unresolved'
      ? { state: 'unresolved', reason: known.reason ?? 'what set it off is unresolved' }
      : { state: 'resolved' }),
    // A consequence that nobody's change set off (a schedule, an autoscaler) is as far as the trace goes.
    trigger: known.trigger ?? referenceOf(cause),
    ...(inherited && { content: inherited }),
  };
}

/** Attributes the subject to its root; no change by anyone set it off. */
export function setOffByNobody(c: Case, finding: Finding): Attribution {
  return {
    state: 'resolved',
    rule: finding.rule,
    ...(finding.root && { root: finding.root }),
    ...(finding.content && { content: finding.content }),
    evidence: evidenceOf(c, finding),
  };
}

export function unresolved(c: Case, reason: string, finding: Finding): Attribution {
  return {
    state: 'unresolved',
    rule: finding.rule,
    reason,
    ...(finding.root && { root: finding.root }),
    ...(finding.content && { content: finding.content }),
    evidence: evidenceOf(c, finding),
  };
}

function evidenceOf(c: Case, finding: Finding): AttributionEvidence {
  const evidence: AttributionEvidence = { path: finding.path ?? pathOf(c, finding.root) };
  if (finding.rivals && finding.rivals.length > 0)
    evidence.rivals = finding.rivals.slice(0, 10).map((rival) => rival.changeID);
  if (finding.notes && finding.notes.length > 0) evidence.notes = [...finding.notes];
  return evidence;
}

function pathOf(c: Case, root: Attribution['root']): string[] {
  const own = describeObject(c.subject.key);
  return !root || root.objectID === c.subject.objectID ? [own] : [own, describeObject(root.key)];
}

/** Whether a change is attributed to something else rather than being its own root. */
export function isConsequence(change: RecordedChange): boolean {
  return change.class === 'derived' || change.kind === 'finalizer_removal';
}

/** A change this long before a consequence, in microseconds, hardly set it off when another stands right beside it. */
const STALE = 60 * 1e6;

/**
 * Those of some changes that happened before the subject, the latest first. Such as only tolerance for clocks puts
 * before it come last, unless all others are stale.
 */
export function before(c: Case, changes: Iterable<RecordedChange>): RecordedChange[] {
  const sure: RecordedChange[] = [];
  const tolerated: RecordedChange[] = [];
  for (const change of changes) {
    if (change.changeID === c.subject.changeID) continue;
    const precedence = precedes(change, c.subject);
    if (precedence) (precedence.by === 'time_within_tolerance' ? tolerated : sure).push(change);
  }
  sure.sort((a, b) => (isLater(a, b) ? -1 : isLater(b, a) ? 1 : 0));
  tolerated.sort((a, b) => a.at - b.at);
  const stale = !sure[0] || c.subject.at - sure[0].at > STALE;
  return stale ? [...tolerated, ...sure] : [...sure, ...tolerated];
}
