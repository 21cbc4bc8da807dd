import type { Json, JsonObject } from '../audit-event.js';
import { sortedKeys } from '../canonical.js';
import { appendSegment } from './field-path.js';
import { listKeys } from './merge-keys.js';

/**
 * One difference, at the highest place where it is one: an added container is one entry with its whole value.
 * `reorder` has the list's keys in their order before and after, and comes after the list's other entries.
 */
export interface FieldChange {
  path: string;
  op: 'add' | 'remove' | 'replace' | 'reorder';
  before?: Json;
  after?: Json;
}

/**
 * Everything that differs between two objects, list items matched by merge keys. Inputs are not changed. Equal objects
 * give equal diffs, whatever the order of their keys.
 */
export function diffObjects(before: JsonObject, after: JsonObject): FieldChange[] {
  const changes: FieldChange[] = [];
  diffMaps(before, after, '', '', changes);
  return changes;
}

function diffValues(
  before: Json,
  after: Json,
  path: string,
  field: string,
  parent: string,
  changes: FieldChange[],
): void {
  if (before === after) return;
  if (isMap(before) && isMap(after)) diffMaps(before, after, path, field, changes);
  else if (Array.isArray(before) && Array.isArray(after))
    diffLists(before, after, path, field, parent, changes);
  else changes.push({ path, op: 'replace', before, after });
}

function diffMaps(
  before: JsonObject,
  after: JsonObject,
  path: string,
  field: string,
  changes: FieldChange[],
): void {
  for (const key of sortedKeys(before)) {
    const value = before[key]!;
    if (!Object.hasOwn(after, key)) {
      changes.push({ path: appendSegment(path, { key }), op: 'remove', before: value });
      continue;
    }
    const other = after[key]!;
    if (value === other || (value !== null && typeof value === 'object' && deepEqual(value, other))) continue;
    diffValues(value, other, appendSegment(path, { key }), key, field, changes);
  }
  for (const key of sortedKeys(after)) {
    if (!Object.hasOwn(before, key))
      changes.push({ path: appendSegment(path, { key }), op: 'add', after: after[key]! });
  }
}

function diffLists(
  before: Json[],
  after: Json[],
  path: string,
  field: string,
  parent: string,
  changes: FieldChange[],
): void {
  const keys = listKeys(field, parent, before, after);
  if (!keys) {
    diffPositions(before, after, path, field, changes);
    return;
  }
  const right = new Map(keys.after.map((key, i) => [key, after[i]!]));
  const left = new Set(keys.before);
  for (const [i, key] of keys.before.entries()) {
    const itemPath = appendSegment(path, { item: key });
    const other = right.get(key);
    if (other === undefined) changes.push({ path: itemPath, op: 'remove', before: before[i]! });
    else diffValues(before[i]!, other, itemPath, field, parent, changes);
  }
  for (const [i, key] of keys.after.entries()) {
    if (!left.has(key))
      changes.push({ path: appendSegment(path, { item: key }), op: 'add', after: after[i]! });
  }
  // What the entries above leave behind: the kept items in their old order, then the added ones.
  const result = [
    ...keys.before.filter((key) => right.has(key)),
    ...keys.after.filter((key) => !left.has(key)),
  ];
  if (result.some((key, i) => key !== keys.after[i])) {
    changes.push({ path, op: 'reorder', before: keys.before, after: keys.after });
  }
}

function diffPositions(
  before: Json[],
  after: Json[],
  path: string,
  field: string,
  changes: FieldChange[],
): void {
  const shared = Math.min(before.length, after.length);
  for (let index = 0; index < shared; index++) {
    if (!deepEqual(before[index]!, after[index]!)) {
      diffValues(before[index]!, after[index]!, appendSegment(path, { index }), '', field, changes);
    }
  }
  for (let index = before.length - 1; index >= shared; index--) {
    changes.push({ path: appendSegment(path, { index }), op: 'remove', before: before[index]! });
  }
  for (let index = shared; index < after.length; index++) {
    changes.push({ path: appendSegment(path, { index }), op: 'add', after: after[index]! });
  }
}

function isMap(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Structural equality; the order of map keys doesn't count. */
export function deepEqual(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => deepEqual(item, b[i]!));
  }
  if (Array.isArray(b)) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  for (const key of keys) if (!Object.hasOwn(b, key) || !deepEqual(a[key]!, b[key]!)) return false;
  return true;
}
