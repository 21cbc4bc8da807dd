import type { Json, JsonObject } from '../audit-event.js';
import { isJsonObject } from '../classify.js';
import { type ObjectKey, objectID } from '../identity.js';
import type { Case, RecordedChange } from './attribution.js';
import { controllerOf, removes } from './causes.js';

export interface RelatedObject {
  objectID: string;
  key: ObjectKey;
}

type Subject = Pick<Case, 'subject' | 'before' | 'after'>;

/** Whether tracing a change needs its object's versions: they name a node, a claim or pods that no reference tells. */
export function needsBodies(subject: RecordedChange): boolean {
  const controller = controllerOf(subject);
  const { resource } = subject.key;
  if (resource === 'endpoints' || resource === 'endpointslices' || resource === 'persistentvolumes')
    return true;
  if (resource !== 'pods') return false;
  if (controller === 'daemon-set-controller') return subject.kind === 'create';
  return removes(subject) && isNodeRemoval(controller);
}

export function isNodeRemoval(controller: string | undefined): boolean {
  return (
    controller === 'taint-eviction-controller' ||
    controller === 'node-controller' ||
    controller === 'pod-garbage-collector' ||
    controller === 'device-taint-eviction-controller'
  );
}

/** Whether the HorizontalPodAutoscalers of the subject's namespace must be known. */
export function needsAutoscalers(subject: RecordedChange): boolean {
  return controllerOf(subject) === 'horizontal-pod-autoscaler';
}

export function needsClusterRoles(subject: RecordedChange): boolean {
  return controllerOf(subject) === 'clusterrole-aggregation-controller';
}

/** Objects outside the owner chain whose changes may have set the subject off. */
export function relatedObjects(c: Subject): RelatedObject[] {
  const { key } = c.subject;
  const found: ObjectKey[] = [];
  switch (controllerOf(c.subject)) {
    case 'namespace-controller':
    case 'service-account-controller':
    case 'root-ca-cert-publisher':
      found.push(namespaceKey(key.namespace));
      break;
    case 'endpoint-controller':
    case 'endpointslice-controller':
    case 'endpointslicemirroring-controller':
      found.push(serviceKey(c.subject));
      for (const pod of changedPods(c)) found.push(pod);
      break;
    case 'statefulset-controller':
      if (key.resource === 'persistentvolumeclaims') found.push(...claimOwners(key));
      break;
    case 'persistent-volume-binder': {
      const claim = claimOf(c.after ?? c.before);
      if (claim) found.push(claim);
      break;
    }
    case 'daemon-set-controller':
    case 'taint-eviction-controller':
    case 'node-controller':
    case 'pod-garbage-collector': {
      const node = nodeOf(c.after ?? c.before) ?? nodeOf(c.before);
      if (node) found.push(node);
      break;
    }
    case 'kube-controller-manager':
      if (serviceAccountOfToken(c.subject)) found.push(serviceAccountOfToken(c.subject)!);
      break;
  }
  return [...found.map((item) => ({ objectID: objectID(item), key: item })), ...revisionsOf(c)];
}

export function namespaceKey(name: string): ObjectKey {
  return { apiGroup: '', resource: 'namespaces', namespace: '', name };
}

/** Endpoints bear their Service's name; EndpointSlices bear it in a label (discovery.k8s.io/v1). */
export function serviceKey(subject: RecordedChange): ObjectKey {
  const name = labelOf(subject, 'kubernetes.io/service-name') ?? subject.key.name;
  return { apiGroup: '', resource: 'services', namespace: subject.key.namespace, name };
}

/** The token controller names its Secrets `<service account>-token-<5 characters>` (pkg/controller/serviceaccount). */
export function serviceAccountOfToken(subject: RecordedChange): ObjectKey | undefined {
  const { resource, namespace, name } = subject.key;
  const match = resource === 'secrets' ? /^(.+)-token-[a-z0-9]{5}$/.exec(name) : null;
  return match ? { apiGroup: '', resource: 'serviceaccounts', namespace, name: match[1]! } : undefined;
}

/**
 * A StatefulSet's claims have no owner by default and are called `<template>-<set>-<ordinal>`, where both names may
 * hold dashes: all sets that it may be.
 */
function claimOwners(key: ObjectKey): ObjectKey[] {
  const parts = key.name.split('-').slice(0, -1);
  return parts.slice(1).map((_, i) => ({
    apiGroup: 'apps',
    resource: 'statefulsets',
    namespace: key.namespace,
    name: parts.slice(i + 1).join('-'),
  }));
}

/** The ControllerRevision that a StatefulSet's or DaemonSet's pod was made from, by its label. */
export function revisionsOf(c: Pick<Case, 'subject'> & Partial<Pick<Case, 'owners'>>): RelatedObject[] {
  const { subject } = c;
  const controller = controllerOf(subject);
  if (
    subject.key.resource !== 'pods' ||
    (controller !== 'statefulset-controller' && controller !== 'daemon-set-controller')
  )
    return [];
  const hash = labelOf(subject, 'controller-revision-hash');
  if (hash === undefined) return [];
  // A DaemonSet's label is the bare hash; its pods are `<set>-<5 characters>`, its revisions `<set>-<hash>`.
  const name =
    controller === 'daemon-set-controller'
      ? `${subject.key.name.replace(/-[a-z0-9]{5}$/, '')}-${hash}`
      : hash;
  const key = { apiGroup: 'apps', resource: 'controllerrevisions', namespace: subject.key.namespace, name };
  return [{ objectID: objectID(key), key }];
}

export function labelOf(subject: RecordedChange, name: string): string | undefined {
  return subject.labels.find((label) => label.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** The claim that a PersistentVolume is bound to (spec.claimRef). */
function claimOf(volume: JsonObject | undefined): ObjectKey | undefined {
  const reference = at(volume, 'spec', 'claimRef');
  const name = at(reference, 'name');
  const namespace = at(reference, 'namespace');
  if (typeof name !== 'string' || typeof namespace !== 'string') return undefined;
  return { apiGroup: '', resource: 'persistentvolumeclaims', namespace, name };
}

/** The node a pod runs on, or is pinned to as a DaemonSet's pods are (pkg/controller/daemon/util, ReplaceDaemonSetPodNodeNameNodeAffinity). */
function nodeOf(pod: JsonObject | undefined): ObjectKey | undefined {
  const placed = at(pod, 'spec', 'nodeName');
  if (typeof placed === 'string' && placed !== '') return nodeKey(placed);
  const terms = at(
    pod,
    'spec',
    'affinity',
    'nodeAffinity',
    'requiredDuringSchedulingIgnoredDuringExecution',
    'nodeSelectorTerms',
  );
  const fields = Array.isArray(terms) ? at(terms[0], 'matchFields') : undefined;
  const values = Array.isArray(fields) ? at(fields[0], 'values') : undefined;
  const name = Array.isArray(values) ? values[0] : undefined;
  return typeof name === 'string' ? nodeKey(name) : undefined;
}

function nodeKey(name: string): ObjectKey {
  return { apiGroup: '', resource: 'nodes', namespace: '', name };
}

/** At most this many pods of one Endpoints write are looked up. */
const MAX_PODS = 20;

/** The pods that an Endpoints or EndpointSlice lists otherwise than it did before. */
export function changedPods(c: Pick<Case, 'subject' | 'before' | 'after'>): ObjectKey[] {
  const old = listedPods(c.before);
  const now = listedPods(c.after);
  const names = new Set<string>();
  for (const [name, how] of now) if (old.get(name) !== how) names.add(name);
  for (const name of old.keys()) if (!now.has(name)) names.add(name);
  const { namespace } = c.subject.key;
  return [...names].slice(0, MAX_PODS).map((name) => ({ apiGroup: '', resource: 'pods', namespace, name }));
}

/** Pod names with how they are listed: ready or not, under which uid. */
function listedPods(object: JsonObject | undefined): Map<string, string> {
  const pods = new Map<string, string>();
  const add = (entry: Json | undefined, how: string) => {
    const target = at(entry, 'targetRef');
    const name = at(target, 'name');
    if (at(target, 'kind') === 'Pod' && typeof name === 'string')
      pods.set(name, `${how} ${at(target, 'uid')}`);
  };
  for (const endpoint of list(at(object, 'endpoints')))
    add(endpoint, JSON.stringify(at(endpoint, 'conditions') ?? null));
  for (const subset of list(at(object, 'subsets'))) {
    for (const address of list(at(subset, 'addresses'))) add(address, 'ready');
    for (const address of list(at(subset, 'notReadyAddresses'))) add(address, 'not ready');
  }
  return pods;
}

function list(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

function at(value: Json | undefined, ...path: string[]): Json | undefined {
  let found = value;
  for (const key of path) {
    if (!isJsonObject(found)) return undefined;
    found = found[key];
  }
  return found;
}
