import type { Json, JsonObject } from './audit-event.js';
import { appendSegment } from './diff/field-path.js';
import { listKeys } from './diff/merge-keys.js';

/** Every leaf of an object with its field path; empty maps and lists are leaves. */
export function leavesOf(object: JsonObject): Array<{ path: string; value: Json }> {
  return leavesBelow(object, '', '', '');
}

/** The same of what stands at a path; `field` is the last key of the path, and `parent` the one before it. */
export function leavesBelow(
  value: Json,
  path: string,
  field: string,
  parent: string,
): Array<{ path: string; value: Json }> {
  const leaves: Array<{ path: string; value: Json }> = [];
  collect(value, path, field, parent, leaves);
  return leaves;
}

function collect(
  value: Json,
  path: string,
  field: string,
  parent: string,
  leaves: Array<{ path: string; value: Json }>,
): void {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) {
    if (path !== '') leaves.push({ path, value });
  } else if (Array.isArray(value)) {
    const keys = listKeys(field, parent, value, value)?.before;
    for (const [index, item] of value.entries())
      collect(item, appendSegment(path, keys ? { item: keys[index]! } : { index }), field, parent, leaves);
  } else {
    for (const [key, item] of Object.entries(value))
      collect(item, appendSegment(path, { key }), key, field, leaves);
  }
}
