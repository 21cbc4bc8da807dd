import { builtInController, serviceAccountOf } from '../actors.js';
import type { RecordedChange } from './attribution.js';

const WORKLOADS = new Set([
  'deployments',
  'replicasets',
  'statefulsets',
  'daemonsets',
  'jobs',
  'cronjobs',
  'replicationcontrollers',
]);

/** Fields of workloads whose change makes their controllers create, replace or remove objects (pkg/controller/*). */
const SPREADING_FIELDS = [
  'spec.template',
  'spec.replicas',
  'spec.paused',
  'spec.suspend',
  'spec.parallelism',
  'spec.completions',
  'spec.selector',
  'spec.strategy',
  'spec.updateStrategy',
  'spec.jobTemplate',
  'spec.schedule',
];
const TEMPLATE_FIELDS = ['spec.template', 'spec.jobTemplate'];

const REMOVALS = new Set<RecordedChange['kind']>(['delete', 'rbac_revoke', 'eviction', 'finalizer_removal']);

export type Likelihood = 'yes' | 'maybe' | 'no';

/** Whether a change takes its object away, or asks for that. */
export function removes(change: RecordedChange): boolean {
  return REMOVALS.has(change.kind) || (change.kind === 'delete_collection' && change.key.name !== '');
}

/** Whether a change of an owner makes a controller act on what it owns. `maybe`: what changed isn't known. */
export function spreads(change: RecordedChange): Likelihood {
  if (change.kind === 'create' || change.kind === 'scale' || change.kind === 'restart') return 'yes';
  if (change.kind !== 'update') return 'no';
  if (!change.fieldTerms) return 'maybe';
  return touches(change, SPREADING_FIELDS) ? 'yes' : 'no';
}

/** Whether a change gave its object the content that its dependents are made from. */
export function givesContent(change: RecordedChange): Likelihood {
  if (change.kind === 'create' || change.kind === 'restart') return 'yes';
  if (change.kind !== 'update') return WORKLOADS.has(change.key.resource) || removes(change) ? 'no' : 'yes';
  if (!change.fieldTerms) return 'maybe';
  return !WORKLOADS.has(change.key.resource) || touches(change, TEMPLATE_FIELDS) ? 'yes' : 'no';
}

export function touches(change: RecordedChange, paths: readonly string[]): boolean {
  return change.fieldTerms?.some((term) => paths.includes(term)) ?? false;
}

/**
 * The controller behind a change. kube-controller-manager without --use-service-account-credentials writes everything
 * as one user; its controllers then differ only in their user agents (client-go appends `/<controller>`).
 */
export function controllerOf(change: RecordedChange): string | undefined {
  if (change.impersonated) return undefined;
  const controller = builtInController(change.username);
  if (controller !== 'kube-controller-manager') return controller;
  const last = change.userAgent?.slice(change.userAgent.lastIndexOf('/') + 1) ?? '';
  const name = serviceAccountOf(last)?.name ?? last;
  return builtInController(`system:serviceaccount:kube-system:${name}`) ?? controller;
}

/** Whether two changes may be of the same life of an object. An unknown uid contradicts nothing. */
export function sameLife(a: string | undefined, b: string | undefined): boolean {
  return a === undefined || b === undefined || a === b;
}
