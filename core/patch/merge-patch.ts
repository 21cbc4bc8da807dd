import type { Json, JsonObject } from '../audit-event.js';
import { mergeKeyFields } from '../diff/merge-keys.js';

function isMap(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** RFC 7386, on a copy of what it changes. */
export function applyMergePatch(target: Json | undefined, patch: Json): Json {
  if (!isMap(patch)) return patch;
  const result: JsonObject = isMap(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = applyMergePatch(Object.hasOwn(result, key) ? result[key] : undefined, value);
  }
  return result;
}

const ORDER = '$setElementOrder/';
const DELETE_PRIMITIVES = '$deleteFromPrimitiveList/';

/**
 * Strategic merge patch (k8s.io/apimachinery/pkg/util/strategicpatch): lists with a merge key merge item by item, all
 * other lists are replaced; directives delete, replace and order. Undefined where a directive isn't understood.
 */
export function applyStrategicPatch(
  target: Json | undefined,
  patch: Json,
  field = '',
  parent = '',
): Json | undefined {
  if (!isMap(patch)) return patch;
  if (patch.$patch === 'replace') return without(patch, ['$patch']);
  if (patch.$patch === 'delete') return {};
  if (patch.$patch !== undefined && patch.$patch !== 'merge') return undefined;
  const result: JsonObject = isMap(target) ? { ...target } : {};
  if (Array.isArray(patch.$retainKeys)) {
    for (const key of Object.keys(result)) if (!patch.$retainKeys.includes(key)) delete result[key];
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(DELETE_PRIMITIVES) && Array.isArray(value)) {
      const name = key.slice(DELETE_PRIMITIVES.length);
      const list = result[name];
      if (Array.isArray(list)) result[name] = list.filter((item) => !value.includes(item));
    }
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$')) continue;
    const current = Object.hasOwn(result, key) ? result[key] : undefined;
    if (value === null) delete result[key];
    else {
      const merged = Array.isArray(value)
        ? mergeLists(current, value, key, field)
        : applyStrategicPatch(current, value, key, field);
      if (merged === undefined) return undefined;
      result[key] = merged;
    }
  }
  for (const [key, order] of Object.entries(patch)) {
    if (key.startsWith(ORDER) && Array.isArray(order))
      sortList(result, key.slice(ORDER.length), order, field);
  }
  void parent;
  return result;
}

function mergeLists(
  current: Json | undefined,
  patch: Json[],
  field: string,
  parent: string,
): Json | undefined {
  const key = mergeKeyFields(field, parent, patch)?.[0];
  const merging = key !== undefined && patch.every(isMap);
  if (!merging) {
    // Finalizers are the one list of scalars with patchStrategy merge that people meet (metav1.ObjectMeta).
    if (field === 'finalizers' && Array.isArray(current))
      return [...current, ...patch.filter((item) => !current.includes(item))];
    return patch;
  }
  if (patch.some((item) => isMap(item) && item.$patch === 'replace'))
    return patch.filter((item) => !(isMap(item) && item.$patch === 'replace'));
  const result: Json[] = Array.isArray(current) ? [...current] : [];
  for (const item of patch as JsonObject[]) {
    const index = result.findIndex((other) => isMap(other) && other[key] === item[key]);
    if (item.$patch === 'delete') {
      if (index >= 0) result.splice(index, 1);
      continue;
    }
    const merged = applyStrategicPatch(index >= 0 ? result[index] : undefined, item, field, parent);
    if (merged === undefined) return undefined;
    if (index >= 0) result[index] = merged;
    else result.push(merged);
  }
  return result;
}

/** Items in the order named; those not named keep their places behind them. */
function sortList(object: JsonObject, name: string, order: Json[], parent: string): void {
  const list = object[name];
  if (!Array.isArray(list)) return;
  const key = mergeKeyFields(name, parent, list)?.[0];
  const place = (item: Json) =>
    order.findIndex((wanted) =>
      key && isMap(item) && isMap(wanted) ? wanted[key] === item[key] : wanted === item,
    );
  const ranked = list.map((item, i) => ({ item, i, rank: place(item) }));
  ranked.sort(
    (a, b) => (a.rank < 0 ? list.length : a.rank) - (b.rank < 0 ? list.length : b.rank) || a.i - b.i,
  );
  object[name] = ranked.map(({ item }) => item);
}

function without(object: JsonObject, keys: string[]): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));
}
