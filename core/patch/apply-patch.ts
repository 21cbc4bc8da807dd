import type { Json, JsonObject } from '../audit-event.js';
import { sortedKeys } from '../canonical.js';
import { deepEqual } from '../diff/diff.js';
import { appendSegment } from '../diff/field-path.js';
import { listKeys } from '../diff/merge-keys.js';
import type { PatchType } from '../vocabulary.js';
import { applyJsonPatch, parsePointer } from './json-patch.js';
import { applyMergePatch, applyStrategicPatch } from './merge-patch.js';

export interface Patched {
  object: JsonObject;
  /** Field paths that the patch names. */
  touched: string[];
}

/**
 * The object a patch would make of another, before admission and defaulting: only ever an inference. Undefined where
 * it can't be worked out faithfully. Inputs are not changed.
 */
export function applyPatch(type: PatchType, object: JsonObject, body: Json): Patched | undefined {
  const result = patched(type, object, body);
  return result && { object: result, touched: patchedPaths(type, body, result) };
}

function patched(type: PatchType, object: JsonObject, body: Json): JsonObject | undefined {
  if (type === 'json') return Array.isArray(body) ? applyJsonPatch(object, body) : undefined;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return undefined;
  const merged =
    type === 'strategic' || type === 'apply' ? undefined : (applyMergePatch(object, body) as JsonObject);
  if (type === 'merge') return merged;
  const strategic = applyStrategicPatch(object, body) as JsonObject | undefined;
  if (type !== 'ambiguous') return strategic;
  // Where both readings give the same object, it doesn't matter which one was meant.
  return strategic && merged && deepEqual(strategic, merged) ? merged : undefined;
}

const DIRECTIVE = /^\$/;

/** The field paths that a patch body names, at its leaves. `object` (the state after) tells how list items are matched. */
export function patchedPaths(type: PatchType, body: Json, object: JsonObject | undefined): string[] {
  const paths: string[] = [];
  if (type === 'json') {
    for (const operation of Array.isArray(body) ? body : []) {
      if (!isMap(operation) || operation.op === 'test' || typeof operation.path !== 'string') continue;
      const path = pointerPath(operation.path, object);
      if (path !== undefined && path !== '') paths.push(path);
    }
    return [...new Set(paths)];
  }
  if (isMap(body)) collect(body, '', '', type, paths);
  return paths.filter((path) => !IDENTITY.has(path));
}

/** What a manifest repeats to say which object, and which version of it, is meant. */
const IDENTITY = new Set([
  'apiVersion',
  'kind',
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'metadata.resourceVersion',
]);

function collect(value: JsonObject, path: string, field: string, type: PatchType, paths: string[]): void {
  for (const key of sortedKeys(value)) {
    const item = value[key]!;
    if (DIRECTIVE.test(key)) continue;
    const below = appendSegment(path, { key });
    if (isMap(item) && Object.keys(item).length > 0 && item.$patch === undefined)
      collect(item, below, key, type, paths);
    else if (Array.isArray(item) && type !== 'merge') collectList(item, below, key, field, type, paths);
    else paths.push(below);
  }
}

function collectList(
  items: Json[],
  path: string,
  field: string,
  parent: string,
  type: PatchType,
  paths: string[],
): void {
  const keys = items.every(isMap) ? listKeys(field, parent, items, items)?.before : undefined;
  if (!keys || items.length === 0) {
    paths.push(path);
    return;
  }
  for (const [i, key] of keys.entries()) {
    const item = items[i] as JsonObject;
    const below = appendSegment(path, { item: key });
    if (item.$patch !== undefined || Object.keys(item).length <= 1) paths.push(below);
    else collect(withoutKeys(item, key), below, field, type, paths);
  }
}

/** An item's own merge key is how it is found, not what is changed. */
function withoutKeys(item: JsonObject, key: string): JsonObject {
  const parts = key.split('/');
  return Object.fromEntries(
    Object.entries(item).filter(
      ([name, value]) => !(MERGE_FIELDS.has(name) && parts.includes(String(value))),
    ),
  );
}

const MERGE_FIELDS = new Set([
  'name',
  'containerPort',
  'port',
  'protocol',
  'mountPath',
  'devicePath',
  'type',
  'uid',
  'ip',
  'key',
  'topologyKey',
]);

/** A JSON pointer as a field path: list positions become merge keys where the object tells them. */
function pointerPath(pointer: string, object: JsonObject | undefined): string | undefined {
  let place: Json | undefined = object;
  let path = '';
  let field = '';
  let parent = '';
  for (const part of parsePointer(pointer) ?? []) {
    if (Array.isArray(place) || (place === undefined && /^(\d+|-)$/.test(part))) {
      const list: Json[] = Array.isArray(place) ? place : [];
      const index = part === '-' ? Math.max(0, list.length - 1) : Number(part);
      const key = listKeys(field, parent, list, list)?.before[index];
      path = appendSegment(path, key === undefined ? { index } : { item: key });
      place = list[index];
    } else {
      path = appendSegment(path, { key: part });
      place = isMap(place) && Object.hasOwn(place, part) ? place[part] : undefined;
      parent = field;
      field = part;
    }
  }
  return path;
}

function isMap(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
