import type { Json, JsonObject } from '../audit-event.js';
import type { FieldChange } from '../diff/diff.js';

/** What rules look at: an audit event with what the ledger made of it. */
export interface Matchable {
  /** The redacted audit event as Kubernetes writes it (audit.k8s.io/v1 Event), times as RFC 3339. */
  event: JsonObject;
  cluster: string;
  change?: {
    kind: string;
    class: string;
    tool: string;
    summary: string;
    flags: string[];
    diff: FieldChange[];
  };
  verdict?: { verdict: string; reason?: string; environment: string };
}

export type Scalar = string | number | boolean;
/** Whether a rule matches. */
export type Predicate = (subject: Matchable) => boolean;

/** Something in a rule that can't be done here: what, for whoever loads it. */
export class Unsupported extends Error {}

export const all =
  (of: readonly Predicate[]): Predicate =>
  (subject) =>
    of.every((one) => one(subject));
export const any =
  (of: readonly Predicate[]): Predicate =>
  (subject) =>
    of.some((one) => one(subject));
export const not =
  (of: Predicate): Predicate =>
  (subject) =>
    !of(subject);

/**
 * The values at a path in a JSON value: through lists, of each item. A key may hold dots itself
 * (`annotations.authorization.k8s.io/decision`), so the longest key that is there is taken.
 */
export function valuesAt(value: Json | undefined, path: readonly string[]): Json[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((item) => valuesAt(item, path));
  if (path.length === 0) return [value];
  if (typeof value !== 'object') return [];
  for (let length = path.length; length > 0; length--) {
    const key = path.slice(0, length).join('.');
    if (Object.hasOwn(value, key)) return valuesAt(value[key], path.slice(length));
  }
  return [];
}

/** Texts, numbers and flags among values; whole objects as their JSON. */
export function scalars(values: readonly Json[]): Scalar[] {
  return values.flatMap((value): Scalar[] =>
    value === null ? [] : typeof value === 'object' ? [JSON.stringify(value)] : [value],
  );
}
