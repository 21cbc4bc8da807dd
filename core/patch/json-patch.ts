import type { Json, JsonObject } from '../audit-event.js';
import { deepEqual } from '../diff/diff.js';

/**
 * Applies an RFC 6902 patch to a copy. Undefined when it doesn't apply: a failed `test`, a missing place, an unknown op.
 */
export function applyJsonPatch(object: JsonObject, operations: readonly Json[]): JsonObject | undefined {
  let root: Json = structuredClone(object);
  for (const operation of operations) {
    if (typeof operation !== 'object' || operation === null || Array.isArray(operation)) return undefined;
    const { op, path, from, value } = operation;
    if (typeof path !== 'string') return undefined;
    const source: Json | undefined = typeof from === 'string' ? get(root, from) : undefined;
    const applied: Json | undefined =
      op === 'test'
        ? deepEqual(get(root, path) ?? null, value ?? null)
          ? root
          : undefined
        : op === 'add' || op === 'replace'
          ? set(root, path, value ?? null, op)
          : op === 'remove'
            ? remove(root, path)
            : op === 'copy' && source !== undefined
              ? set(root, path, structuredClone(source), 'add')
              : op === 'move' && source !== undefined && remove(root, from as string) !== undefined
                ? set(root, path, source, 'add')
                : undefined;
    if (applied === undefined) return undefined;
    root = applied;
  }
  return typeof root === 'object' && root !== null && !Array.isArray(root) ? root : undefined;
}

/** RFC 6901. `__proto__` is a name like any other only for own properties; paths through it are refused. */
export function parsePointer(pointer: string): string[] | undefined {
  if (pointer === '') return [];
  if (!pointer.startsWith('/')) return undefined;
  const parts = pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  return parts.includes('__proto__') ? undefined : parts;
}

function get(root: Json, pointer: string): Json | undefined {
  let place: Json | undefined = root;
  for (const part of parsePointer(pointer) ?? ['\0']) {
    if (typeof place !== 'object' || place === null) return undefined;
    place = Array.isArray(place)
      ? place[indexOf(part, place.length)]
      : Object.hasOwn(place, part)
        ? place[part]
        : undefined;
  }
  return place;
}

function indexOf(part: string, length: number): number {
  if (part === '-') return length;
  return /^(0|[1-9]\d*)$/.test(part) ? Number(part) : Number.NaN;
}

function holderOf(root: Json, pointer: string): { holder: JsonObject | Json[]; last: string } | undefined {
  const parts = parsePointer(pointer);
  const last = parts?.pop();
  if (!parts || last === undefined) return undefined;
  const holder = get(
    root,
    parts.map((part) => `/${part.replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''),
  );
  return typeof holder === 'object' && holder !== null ? { holder, last } : undefined;
}

function set(root: Json, pointer: string, value: Json, op: 'add' | 'replace'): Json | undefined {
  if (pointer === '') return value;
  const found = holderOf(root, pointer);
  if (!found) return undefined;
  const { holder, last } = found;
  if (Array.isArray(holder)) {
    const index = indexOf(last, holder.length);
    if (op === 'add' ? !(index <= holder.length) : !(index < holder.length)) return undefined;
    holder.splice(index, op === 'add' ? 0 : 1, value);
    return root;
  }
  if (op === 'replace' && !Object.hasOwn(holder, last)) return undefined;
  holder[last] = value;
  return root;
}

function remove(root: Json, pointer: string): Json | undefined {
  const found = holderOf(root, pointer);
  if (!found) return undefined;
  const { holder, last } = found;
  if (Array.isArray(holder)) {
    const index = indexOf(last, holder.length);
    if (!(index < holder.length)) return undefined;
    holder.splice(index, 1);
    return root;
  }
  if (!Object.hasOwn(holder, last)) return undefined;
  delete holder[last];
  return root;
}
