import type { JsonObject } from '../audit-event.js';
import type { ObjectKey } from '../identity.js';
import type { ChangeClass, ChangeKind, Outcome } from '../vocabulary.js';

/**
 * How a controller's change was traced to what set it off.
 *
 * - `author`: a change that names nobody who could have been asked for credentials
 * - `collection`: one object of a deletecollection
 * - `finalizer`: the object goes now that its last finalizer is off; who deleted it is meant
 * - `termination`: the kubelet's last delete of a pod, after its grace period
 * - `garbage_collection`: an owner was deleted
 * - `namespace_deletion`, `namespace_creation`: what a namespace's end and beginning bring
 * - `owner_chain`: climbing controller ownerReferences by uid
 * - `own_object`: someone else's change of the same object shortly before
 * - `endpoints`: the Service behind Endpoints and EndpointSlices, and the pods they list
 * - `service_account_token`: a ServiceAccount's token Secret
 * - `binding`: the scheduler placed a pod
 * - `preemption`: the scheduler removed a pod in favour of another
 * - `node`: a pod removed because of its node, or made for a new node
 * - `volume`: a PersistentVolume, for its claim
 * - `role_aggregation`: ClusterRoles gathered by label into another
 * - `autoscaler`: a HorizontalPodAutoscaler scaled; nobody set that off
 * - `schedule`: a CronJob's schedule; nobody set that off
 * - `expiry`: a lifetime ended (ttlSecondsAfterFinished, tokens); nobody set that off
 * - `upkeep`: bookkeeping a controller does by itself on the object
 * - `static_pod`: a mirror pod, from a manifest on the node's disk
 */
export const ATTRIBUTION_RULES = [
  'author',
  'collection',
  'finalizer',
  'termination',
  'garbage_collection',
  'namespace_deletion',
  'namespace_creation',
  'owner_chain',
  'own_object',
  'endpoints',
  'service_account_token',
  'binding',
  'preemption',
  'node',
  'volume',
  'role_aggregation',
  'autoscaler',
  'schedule',
  'expiry',
  'upkeep',
  'static_pod',
] as const;
export type AttributionRule = (typeof ATTRIBUTION_RULES)[number];

/** A change as far as attribution looks at it. Times are microseconds since the Unix epoch. */
export interface RecordedChange {
  changeID: string;
  at: number;
  /** The object's revision after it or, where that isn't known, that of the version before it; 0 for neither. */
  orderRV: bigint;
  exactRV: boolean;
  class: ChangeClass;
  kind: ChangeKind;
  outcome: Outcome;
  verb: string;
  subresource: string | undefined;
  objectID: string;
  key: ObjectKey;
  uid: string | undefined;
  username: string;
  impersonated: boolean;
  userAgent: string | undefined;
  /** Paths of the fields it changed, every prefix included; undefined where its content isn't known. */
  fieldTerms: readonly string[] | undefined;
  labels: readonly string[];
  flags: readonly string[];
}

/** One step up from an object to the owner whose reference says controller: true. */
export interface OwnerLink {
  uid: string;
  kind: string | undefined;
  name: string | undefined;
  /** undefined: no request about this uid was ever seen */
  object: { objectID: string; key: ObjectKey } | undefined;
  /** Changes of the object around that time, in any order, its other lives included. */
  changes: readonly RecordedChange[];
}

/** A derived change with all that may explain it. The store gathers it (store/attribution-evidence.ts); deciding is pure. */
export interface Case {
  subject: RecordedChange;
  /** The subject's object before and after, only where needsBodies asks for them. */
  before: JsonObject | undefined;
  after: JsonObject | undefined;
  /** Other changes of the subject's object. */
  own: readonly RecordedChange[];
  /** Nearest owner first. The chain ends at an object without a controller, or at an owner that was never seen. */
  owners: readonly OwnerLink[];
  /** Creations, deletions, evictions and edits of objects with the same nearest owner, within SIBLING_WINDOW. */
  siblings: readonly RecordedChange[];
  /** Changes of relatedObjects, by object id. */
  related: ReadonlyMap<string, readonly RecordedChange[]>;
  /** The deletecollection that an item belongs to. */
  collection: RecordedChange | undefined;
  /** HorizontalPodAutoscalers of the namespace that were seen, with what they scale. */
  autoscalers: readonly Autoscaler[];
  /** Recent changes of ClusterRoles by others. */
  clusterRoles: readonly RecordedChange[];
  /** The attribution of a derived change, where it has one already. */
  attributionOf(changeID: string): Attribution | undefined;
}

export interface Autoscaler {
  objectID: string;
  key: ObjectKey;
  uid: string | undefined;
  target: { kind: string; name: string };
  changes: readonly RecordedChange[];
}

export interface ChangeReference {
  changeID: string;
  at: number;
}

/** Why we say so, for a reader and for a later check. Holds names and times, never values of objects. */
export interface AttributionEvidence {
  /** From the change's object up to its root, as `resource namespace/name`. */
  path: string[];
  /** How the trigger is known to stand before the change. */
  order?: 'resource_version' | 'time' | 'time_within_tolerance';
  /** Seconds by which clocks contradict the revisions, which were believed. */
  clockSkewSeconds?: number;
  /** Derived changes between the trigger and this one. */
  through?: string[];
  /** Other changes that could have set it off; the newest was taken. */
  rivals?: string[];
  notes?: string[];
}

export interface Attribution {
  state: 'resolved' | 'unresolved';
  rule: AttributionRule;
  /** Why unresolved, for a person to read. */
  reason?: string;
  root?: { objectID: string; key: ObjectKey; uid?: string };
  /** What set it off. Absent where nobody's change did (schedule, autoscaler, upkeep). */
  trigger?: ChangeReference;
  /** What gave the root the content that this change carries out. */
  content?: ChangeReference;
  evidence: AttributionEvidence;
}

/** Removals of siblings are looked for this far back, in microseconds: the controller answers them at once. */
export const SIBLING_WINDOW = 10 * 60 * 1e6;

/** `deployments prod/web`; the namespace is left out for cluster-scoped objects. */
export function describeObject(key: ObjectKey): string {
  const place = key.namespace === '' ? '' : `${key.namespace}/`;
  return `${key.resource} ${place}${key.name === '' ? '*' : key.name}`;
}
