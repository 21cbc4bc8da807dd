import { sortedKeys } from '../canonical.js';
import type { FieldChange } from './diff.js';

/** Paths that change without anyone having wanted anything, each with the reason. A path speaks for what is below it. */
const NOISE: ReadonlyArray<readonly [path: string, reason: string]> = [
  ['metadata.managedFields', 'bookkeeping of field owners'],
  ['metadata.resourceVersion', 'changes with every write'],
  ['metadata.generation', 'counts changes of spec'],
  ['metadata.uid', 'identity, set by the apiserver'],
  ['metadata.creationTimestamp', 'set by the apiserver'],
  ['metadata.selfLink', 'a path; gone since 1.24'],
  ['metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]', 'a copy of what was applied'],
  ['metadata.annotations["deployment.kubernetes.io/revision"]', 'counted by the deployment controller'],
  ['metadata.annotations["deployment.kubernetes.io/revision-history"]', 'kept by the deployment controller'],
  ['metadata.annotations["deployment.kubernetes.io/desired-replicas"]', 'a copy of spec.replicas'],
  [
    'metadata.annotations["deployment.kubernetes.io/max-replicas"]',
    'derived from spec.replicas and the strategy',
  ],
  [
    'metadata.annotations["deprecated.daemonset.template.generation"]',
    'counted by the daemon set controller',
  ],
  ['metadata.annotations["control-plane.alpha.kubernetes.io/leader"]', 'leader election'],
  ['metadata.annotations["autoscaling.alpha.kubernetes.io/conditions"]', 'status of the autoscaler'],
  ['metadata.annotations["autoscaling.alpha.kubernetes.io/current-metrics"]', 'status of the autoscaler'],
  [
    'metadata.annotations["endpoints.kubernetes.io/last-change-trigger-time"]',
    'heartbeat of the endpoints controller',
  ],
  ['metadata.annotations["volumes.kubernetes.io/controller-managed-attach-detach"]', 'set by the kubelet'],
  ['metadata.annotations["node.alpha.kubernetes.io/ttl"]', 'set by the ttl controller'],
  ['status', 'what controllers observed, not what anyone asked for'],
];

const NOISE_PATHS = NOISE.map(([path]) => path);

/** Whether a path changes by itself. */
export function isNoisePath(path: string): boolean {
  if (!path.startsWith('metadata') && !path.startsWith('status')) return false;
  return NOISE_PATHS.some(
    (noise) =>
      path === noise ||
      (path.startsWith(noise) && (path[noise.length] === '.' || path[noise.length] === '[')),
  );
}

const ANNOTATIONS = 'metadata.annotations';

/**
 * A diff without its noise. Annotations that came or went as a whole map are judged one by one. That a list's order
 * changed is left out where items came or went: strategic merge puts new items first.
 */
export function significantChanges(changes: readonly FieldChange[]): FieldChange[] {
  return changes.flatMap((change) => {
    if (isNoisePath(change.path)) return [];
    if (change.op === 'reorder' && changes.some((other) => comesOrGoes(other, change.path))) return [];
    if (change.path === ANNOTATIONS && change.op !== 'reorder') return annotationChanges(change);
    return [change];
  });
}

function comesOrGoes(change: FieldChange, list: string): boolean {
  if (change.op !== 'add' && change.op !== 'remove') return false;
  const item = change.path.startsWith(`${list}[`) ? change.path.slice(list.length) : '';
  return /^\[(="(?:[^"\\]|\\.)*"|[^\]"]*)\]$/.test(item);
}

function annotationChanges(change: FieldChange): FieldChange[] {
  const map = change.op === 'add' ? change.after : change.before;
  if (change.op === 'replace' || typeof map !== 'object' || map === null || Array.isArray(map))
    return [change];
  return sortedKeys(map).flatMap((key): FieldChange[] => {
    const value = map[key]!;
    const path = `${ANNOTATIONS}[${JSON.stringify(key)}]`;
    if (isNoisePath(path)) return [];
    return change.op === 'add'
      ? [{ path, op: 'add', after: value }]
      : [{ path, op: 'remove', before: value }];
  });
}

export function isStatusOnly(changes: readonly FieldChange[]): boolean {
  return changes.length > 0 && significantChanges(changes).length === 0;
}
