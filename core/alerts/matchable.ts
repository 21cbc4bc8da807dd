import type { Json, JsonObject } from '../audit-event.js';
import type { FieldChange } from '../diff/diff.js';
import { allNeeded, anyNeeded, EVERYTHING, type Needs } from './needs.js';

/** What rules look at: an audit event with what the ledger made of it; or a gap, or a source that fell silent. */
export interface Matchable {
  /** The redacted audit event as Kubernetes writes it (audit.k8s.io/v1 Event), times as RFC 3339. Empty for a gap or source. */
  event: JsonObject;
  cluster: string;
  /** What the ledger took the event for: core/vocabulary.ts, EVENT_CLASSES. */
  class?: string;
  change?: {
    kind: string;
    class: string;
    tool: string;
    summary: string;
    flags: string[];
    diff: FieldChange[];
  };
  verdict?: { verdict: string; reason?: string; environment: string; final?: boolean };
  /** docs/completeness.md. `missing`: at least so many events, where that can be told. */
  gap?: { cause: string; source: string; since: string; until: string; missing?: number };
  source?: { name: string; silentSeconds: number };
}

/** What a rule has to be given: bodies and diffs have to be loaded, the others decide what it is about. */
export const PARTS = ['bodies', 'change', 'diff', 'verdict', 'gap', 'source'] as const;
export type Part = (typeof PARTS)[number];

export type Scalar = string | number | boolean;
/** Whether a rule matches, with what that takes. */
export interface Predicate {
  (subject: Matchable): boolean;
  /** Of the rows where it may match; absent: of any. */
  needs?: Needs;
  parts?: readonly Part[];
}

/** A predicate with what it takes. */
export function predicate(
  test: (subject: Matchable) => boolean,
  needs: Needs,
  parts: readonly Part[],
): Predicate {
  return Object.assign((subject: Matchable) => test(subject), { needs, parts });
}

/** Something in a rule that can't be done here: what, for whoever loads it. */
export class Unsupported extends Error {}

export const all = (of: readonly Predicate[]): Predicate =>
  predicate(
    (subject) => of.every((one) => one(subject)),
    allNeeded(of.map((one) => one.needs ?? EVERYTHING)),
    partsOf(of),
  );
export const any = (of: readonly Predicate[]): Predicate =>
  predicate(
    (subject) => of.some((one) => one(subject)),
    anyNeeded(of.map((one) => one.needs ?? EVERYTHING)),
    partsOf(of),
  );
/** What it needs says nothing of where it does not match. */
export const not = (of: Predicate): Predicate =>
  predicate((subject) => !of(subject), EVERYTHING, partsOf([of]));

function partsOf(predicates: readonly Predicate[]): Part[] {
  return [...new Set(predicates.flatMap((one) => one.parts ?? []))];
}

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
