import { builtInController } from '../../../core/actors.js';
import { attribute, needsAttribution } from '../../../core/attribution/attribute.js';
import {
  type Attribution,
  type Autoscaler,
  type Case,
  describeObject,
  type OwnerLink,
  type RecordedChange,
} from '../../../core/attribution/attribution.js';
import { relatedObjects } from '../../../core/attribution/related-objects.js';
import type { JsonObject } from '../../../core/audit-event.js';
import { type ObjectKey, objectID } from '../../../core/identity.js';
import type { ChangeKind, Outcome } from '../../../core/vocabulary.js';

/** One recorded change of a scenario. `of` is `resource namespace/name` or `resource name`. */
export interface Step {
  id: string;
  /** Seconds from the start. */
  at: number;
  by: string;
  kind: ChangeKind;
  of: string;
  uid?: string;
  /** uid of the controller owner that the object's reference names. */
  owner?: string;
  ownerKind?: string;
  ownerName?: string;
  rv?: number;
  fields?: string[];
  labels?: string[];
  flags?: string[];
  subresource?: string;
  outcome?: Outcome;
  userAgent?: string;
  /** id of the deletecollection's step. */
  collection?: string;
  before?: JsonObject;
  after?: JsonObject;
  class?: RecordedChange['class'];
}

const GROUPS: Record<string, string> = {
  deployments: 'apps',
  replicasets: 'apps',
  statefulsets: 'apps',
  daemonsets: 'apps',
  controllerrevisions: 'apps',
  jobs: 'batch',
  cronjobs: 'batch',
  horizontalpodautoscalers: 'autoscaling',
  endpointslices: 'discovery.k8s.io',
  clusterroles: 'rbac.authorization.k8s.io',
  certificatesigningrequests: 'certificates.k8s.io',
};

export function controller(name: string): string {
  return `system:serviceaccount:kube-system:${name}`;
}

export function key(of: string): ObjectKey {
  const [resource = '', place = ''] = of.split(' ');
  const slash = place.indexOf('/');
  return {
    apiGroup: GROUPS[resource] ?? '',
    resource,
    namespace: slash < 0 ? '' : place.slice(0, slash),
    name: slash < 0 ? place : place.slice(slash + 1).replace('*', ''),
  };
}

function changeOf(step: Step): RecordedChange {
  const objectKey = key(step.of);
  return {
    changeID: step.id,
    at: step.at * 1e6,
    orderRV: BigInt(step.rv ?? 0),
    exactRV: step.rv !== undefined,
    class: step.class ?? (builtInController(step.by) ? 'derived' : 'change'),
    kind: step.kind,
    outcome: step.outcome ?? 'succeeded',
    verb: step.kind === 'create' ? 'create' : step.kind === 'delete' ? 'delete' : 'update',
    subresource: step.subresource,
    objectID: objectID(objectKey),
    key: objectKey,
    uid: step.uid,
    username: step.by,
    impersonated: false,
    userAgent: step.userAgent,
    fieldTerms: step.fields?.flatMap((field) =>
      field.split('.').map((_, i, parts) => parts.slice(0, i + 1).join('.')),
    ),
    labels: step.labels ?? [],
    flags: step.flags ?? [],
  };
}

export interface Told {
  state: Attribution['state'];
  rule: Attribution['rule'];
  root: string | undefined;
  trigger: string | undefined;
  content: string | undefined;
  reason: string | undefined;
  evidence: Attribution['evidence'];
}

/** Attributes every change of a scenario that needs it, in order, as the job does, and tells it by step id. */
export function tell(steps: readonly Step[]): Record<string, Told> {
  const changes = steps.map(changeOf);
  const byObject = new Map<string, RecordedChange[]>();
  for (const change of changes)
    byObject.set(change.objectID, [...(byObject.get(change.objectID) ?? []), change]);
  const uids = new Map<string, { change: RecordedChange; step: Step }>();
  for (const [i, step] of steps.entries()) {
    const known = step.uid === undefined ? undefined : uids.get(step.uid);
    if (step.uid !== undefined && (!known || (known.step.owner === undefined && step.owner))) {
      uids.set(step.uid, { change: changes[i]!, step });
    }
  }
  const ownersOf = (uid: string | undefined): OwnerLink[] => {
    const step = uid === undefined ? undefined : uids.get(uid)?.step;
    if (!step?.owner) return [];
    const owner = uids.get(step.owner)?.change;
    const link: OwnerLink = {
      uid: step.owner,
      kind: step.ownerKind,
      name: step.ownerName,
      object: owner && { objectID: owner.objectID, key: owner.key },
      changes: owner ? (byObject.get(owner.objectID) ?? []) : [],
    };
    return [link, ...ownersOf(step.owner)];
  };
  const autoscalers = steps.flatMap((step, i): Autoscaler[] => {
    const change = changes[i]!;
    const target = (step.after?.spec as { scaleTargetRef?: Autoscaler['target'] } | undefined)
      ?.scaleTargetRef;
    if (change.key.resource !== 'horizontalpodautoscalers' || !target) return [];
    return [
      {
        objectID: change.objectID,
        key: change.key,
        uid: change.uid,
        target,
        changes: byObject.get(change.objectID)!,
      },
    ];
  });

  const decided = new Map<string, Attribution>();
  for (const [i, subject] of changes.entries()) {
    if (!needsAttribution(subject)) continue;
    const step = steps[i]!;
    const uid =
      subject.uid ?? [...uids.entries()].find(([, known]) => known.change.objectID === subject.objectID)?.[0];
    const owners = ownersOf(uid);
    const related = relatedObjects({ subject, before: step.before, after: step.after });
    const c: Case = {
      subject,
      before: step.before,
      after: step.after,
      own: byObject.get(subject.objectID)!,
      owners,
      siblings: changes.filter((change) => {
        const life = [...uids.values()].find(
          (known) => known.change.objectID === change.objectID && known.step.owner === owners[0]?.uid,
        );
        return owners.length > 0 && life !== undefined;
      }),
      related: new Map(related.map((object) => [object.objectID, byObject.get(object.objectID) ?? []])),
      collection: changes.find((change) => change.changeID === step.collection),
      autoscalers,
      clusterRoles: changes.filter(
        (change) => change.key.resource === 'clusterroles' && change.class === 'change',
      ),
      attributionOf: (changeID) => decided.get(changeID),
    };
    decided.set(subject.changeID, attribute(c));
  }
  return Object.fromEntries(
    [...decided].map(([id, found]) => [
      id,
      {
        state: found.state,
        rule: found.rule,
        root: found.root && describeObject(found.root.key),
        trigger: found.trigger?.changeID,
        content: found.content?.changeID,
        reason: found.reason,
        evidence: found.evidence,
      },
    ]),
  );
}
