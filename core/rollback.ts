import type { Json, JsonObject } from './audit-event.js';
import { isJsonObject } from './classify.js';
import { appendSegment } from './diff/field-path.js';
import { listKeys } from './diff/merge-keys.js';

const DROPPED_METADATA = [
  'managedFields',
  'resourceVersion',
  'uid',
  'generation',
  'creationTimestamp',
  'selfLink',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'ownerReferences',
];
const DROPPED_ANNOTATIONS = [
  'kubectl.kubernetes.io/last-applied-configuration',
  'deployment.kubernetes.io/revision',
  'deprecated.daemonset.template.generation',
];
const REDACTED = '[redacted:';

/** Fields that the apiserver assigns and may refuse to have set again. */
const ASSIGNED: Record<string, string[]> = {
  Service: ['spec.clusterIP', 'spec.clusterIPs', 'spec.healthCheckNodePort'],
  PersistentVolumeClaim: ['spec.volumeName'],
  Pod: ['spec.nodeName'],
};

/** A former state as a manifest that can be applied: no status, no identity, no bookkeeping. */
export interface Manifest {
  object: JsonObject;
  warnings: string[];
}

/** Inputs are not changed. */
export function cleanManifest(state: JsonObject): Manifest {
  const warnings: string[] = [];
  const { status: _status, ...object } = structuredClone(state);
  if (isJsonObject(object.metadata)) {
    if (Array.isArray(object.metadata.ownerReferences))
      warnings.push(
        'the object belongs to an owner (metadata.ownerReferences); its controller may undo what you apply',
      );
    for (const field of DROPPED_METADATA) delete object.metadata[field];
    if (isJsonObject(object.metadata.annotations)) {
      for (const key of DROPPED_ANNOTATIONS) delete object.metadata.annotations[key];
      if (Object.keys(object.metadata.annotations).length === 0) delete object.metadata.annotations;
    }
  }
  const redacted = dropRedacted(object, '', '', '');
  for (const { path, left } of redacted) warnings.push(secretWarning(path, left));
  for (const path of ASSIGNED[String(object.kind)] ?? []) {
    if (hasPath(object, path))
      warnings.push(`${path}: was assigned by the cluster; remove it if the apiserver refuses it`);
  }
  return { object, warnings };
}

function secretWarning(path: string, left: boolean): string {
  const what = left
    ? 'a placeholder stands for it: replace it before you apply this'
    : 'the field is left out: set it yourself';
  return `${path}: a secret value, which is never stored; ${what}`;
}

/**
 * Takes redacted values out: a wrong value applied would be worse than a missing one. List items stay, since others
 * would change places. Returns their paths, and whether a placeholder was left.
 */
function dropRedacted(
  value: JsonObject | Json[],
  path: string,
  field: string,
  parent: string,
): Array<{ path: string; left: boolean }> {
  const found: Array<{ path: string; left: boolean }> = [];
  const list = Array.isArray(value);
  const keys = list ? listKeys(field, parent, value, value)?.before : undefined;
  for (const [key, item] of Object.entries(value)) {
    const index = Number(key);
    const below = appendSegment(path, !list ? { key } : keys ? { item: keys[index]! } : { index });
    if (typeof item === 'string' && item.includes(REDACTED)) {
      found.push({ path: below, left: list });
      if (!list) delete value[key];
    } else if (typeof item === 'object' && item !== null) {
      found.push(...dropRedacted(item, below, list ? field : key, list ? parent : field));
    }
  }
  return found;
}

function hasPath(object: JsonObject, path: string): boolean {
  let place: Json | undefined = object;
  for (const key of path.split('.')) place = isJsonObject(place) ? place[key] : undefined;
  return place !== undefined;
}
