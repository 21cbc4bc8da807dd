import type { Json, JsonObject } from '../audit-event.js';
import type { FieldChange } from './diff.js';
import { type PathSegment, parseFieldPath } from './field-path.js';
import { listKeys } from './merge-keys.js';

/**
 * The object after a diff's changes: `applyDiff(before, diffObjects(before, after))` equals `after`.
 * @throws Error when a change's place isn't there
 */
export function applyDiff(before: JsonObject, changes: readonly FieldChange[]): JsonObject {
  const result = structuredClone(before);
  for (const change of changes) {
    const segments = parseFieldPath(change.path);
    if (change.op === 'reorder') reorder(result, segments, change);
    else apply(result, segments, change);
  }
  return result;
}

/** The value at a path; undefined where there is none. */
export function valueAt(object: Json, path: string): Json | undefined {
  let place: Json | undefined = object;
  let field = '';
  let parent = '';
  for (const segment of parseFieldPath(path)) {
    place = step(place, segment, field, parent);
    if (place === undefined) return undefined;
    if ('key' in segment) {
      parent = field;
      field = segment.key;
    }
  }
  return place;
}

function step(
  place: Json | undefined,
  segment: PathSegment,
  field: string,
  parent: string,
): Json | undefined {
  if (typeof place !== 'object' || place === null) return undefined;
  if ('key' in segment)
    return !Array.isArray(place) && Object.hasOwn(place, segment.key) ? place[segment.key] : undefined;
  if (!Array.isArray(place)) return undefined;
  const index = indexOf(place, segment, field, parent);
  return index === undefined ? undefined : place[index];
}

function indexOf(list: Json[], segment: PathSegment, field: string, parent: string): number | undefined {
  if ('index' in segment) return segment.index < list.length ? segment.index : undefined;
  if ('key' in segment) return undefined;
  // Keys are worked out as the diff did; an item of a list that no longer has unique keys isn't found.
  const index = listKeys(field, parent, list, list)?.before.indexOf(segment.item);
  return index === undefined || index < 0 ? undefined : index;
}

/** The list or map that holds the last segment, and the names of the fields on the way to it. */
function parentOf(root: Json, segments: PathSegment[]): { place: Json; field: string; parent: string } {
  let place: Json | undefined = root;
  let field = '';
  let parent = '';
  for (const segment of segments.slice(0, -1)) {
    place = step(place, segment, field, parent);
    if (place === undefined) throw new Error('the diff does not fit the object');
    if ('key' in segment) {
      parent = field;
      field = segment.key;
    }
  }
  return { place: place as Json, field, parent };
}

function apply(root: JsonObject, segments: PathSegment[], change: FieldChange): void {
  const last = segments.at(-1)!;
  const { place, field, parent } = parentOf(root, segments);
  if (Array.isArray(place)) {
    const index = 'index' in last ? last.index : indexOf(place, last, field, parent);
    if (change.op === 'remove') place.splice(index!, 1);
    else if (index === undefined || index >= place.length) place.push(change.after!);
    else place[index] = change.after!;
    return;
  }
  const map = place as JsonObject;
  const key = (last as { key: string }).key;
  if (change.op === 'remove') delete map[key];
  else
    Object.defineProperty(map, key, {
      value: change.after,
      enumerable: true,
      configurable: true,
      writable: true,
    });
}

function reorder(root: JsonObject, segments: PathSegment[], change: FieldChange): void {
  const { place, field, parent } = parentOf(root, segments);
  const last = segments.at(-1)!;
  const list = step(place, last, field, parent) as Json[];
  const own = 'key' in last ? { field: last.key, parent: field } : { field, parent };
  const keys = listKeys(own.field, own.parent, list, list)?.before;
  if (!keys) throw new Error('the diff does not fit the object');
  const byKey = new Map(keys.map((key, i) => [key, list[i]!]));
  const ordered = (change.after as string[]).map((key) => byKey.get(key)!);
  list.splice(0, list.length, ...ordered);
}
