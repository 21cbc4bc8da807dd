import type { Json } from '../audit-event.js';
import { isJsonObject } from '../classify.js';

/** A value inside an object, undefined where the way to it ends. */
export function field(value: Json | undefined, ...names: string[]): Json | undefined {
  let found = value;
  for (const name of names) {
    if (!isJsonObject(found)) return undefined;
    found = Object.hasOwn(found, name) ? found[name] : undefined;
  }
  return found;
}

export function text(value: Json | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
