import type { Json, JsonObject } from '../audit-event.js';
import { deepEqual } from '../diff/diff.js';
import { appendSegment, type PathSegment } from '../diff/field-path.js';
import { listKeys } from '../diff/merge-keys.js';
import { type AdmissionMutation, wrote } from './admission.js';
import { isDefault } from './defaults.js';
import { isServerMetadata, isToolMetadata, manifestKey, normalizeManifest } from './manifest.js';
import { quantityOf } from './quantity.js';

/**
 * Where a field comes from that was written and not approved.
 *
 * - `default`: the API server's default, or what it allots, for a built-in kind
 * - `server`: written by the API server: uid, managedFields, status, ...
 * - `tool`: the mark by which the deploying tool knows its objects
 * - `admission`: a mutating webhook's patch wrote it
 * - `unexplained`: none of these is known to be so
 */
export const EXTRA_LABELS = ['default', 'server', 'tool', 'admission', 'unexplained'] as const;
export type ExtraLabel = (typeof EXTRA_LABELS)[number];

/** A field that was approved and is not what was written. `order`: a list's items are the same in another order. */
export interface ApprovedDifference {
  path: string;
  kind: 'missing' | 'different' | 'order';
  approved: Json;
  written?: Json;
  /** The webhooks whose patch wrote it. */
  by?: string[];
}

export interface ExtraField {
  path: string;
  label: ExtraLabel;
  value: Json;
  /** The webhooks: that wrote it, or, of what is unexplained, that may have, since their patch was not recorded. */
  by?: string[];
}

export interface ManifestComparison {
  /** All that was approved was written as it was, and every other field is explained. */
  equal: boolean;
  differences: ApprovedDifference[];
  extras: ExtraField[];
}

/**
 * Compares an approved manifest with the object that was written, field by field. Both must be redacted with the same
 * key: secret values are compared by their digests.
 * @param written as the API server answered it (the change's state after it)
 * @param mutations the webhooks that changed the request (readMutations)
 */
export function compareManifest(
  approved: JsonObject,
  written: JsonObject,
  mutations: readonly AdmissionMutation[] = [],
): ManifestComparison {
  const comparison = new Comparison(manifestKey(written) ?? { apiGroup: '', kind: '' }, mutations);
  comparison.maps(normalizeManifest(approved), written, ROOT, '', '');
  const { differences, extras } = comparison;
  const equal = differences.length === 0 && extras.every((extra) => extra.label !== 'unexplained');
  return { equal, differences, extras };
}

/** A place in the written object: for people, for the tables of defaults, and for JSON Pointers. */
interface Place {
  path: string;
  pattern: string;
  steps: ReadonlyArray<string | number>;
}

const ROOT: Place = { path: '', pattern: '', steps: [] };

function below(place: Place, segment: PathSegment, step: string | number): Place {
  return {
    path: appendSegment(place.path, segment),
    pattern: 'key' in segment ? appendSegment(place.pattern, segment) : `${place.pattern}[*]`,
    steps: [...place.steps, step],
  };
}

class Comparison {
  readonly differences: ApprovedDifference[] = [];
  readonly extras: ExtraField[] = [];
  readonly #type: { apiGroup: string; kind: string };
  readonly #mutations: readonly AdmissionMutation[];

  constructor(type: { apiGroup: string; kind: string }, mutations: readonly AdmissionMutation[]) {
    this.#type = type;
    this.#mutations = mutations;
  }

  maps(approved: JsonObject, written: JsonObject, place: Place, field: string, parent: string): void {
    // null says nothing of a field.
    const isSaid = (key: string) => Object.hasOwn(approved, key) && approved[key] !== null;
    for (const key of Object.keys(approved).filter(isSaid)) {
      const at = below(place, { key }, key);
      if (Object.hasOwn(written, key)) this.#values(approved[key]!, written[key]!, at, key, field);
      // The server leaves out what is empty; saying so or nothing is the same.
      else if (!isLeftOut(key, approved[key]!)) this.#differ('missing', at, approved[key]!);
    }
    for (const key of Object.keys(written))
      if (!isSaid(key)) this.#extra(written[key]!, below(place, { key }, key), written, parent);
  }

  #values(approved: Json, written: Json, place: Place, field: string, parent: string): void {
    if (approved === written) return;
    if (isMap(approved) && isMap(written)) this.maps(approved, written, place, field, parent);
    else if (Array.isArray(approved) && Array.isArray(written))
      this.#lists(approved, written, place, field, parent);
    else if (!isSameAmount(approved, written, place)) this.#differ('different', place, approved, written);
  }

  #lists(approved: Json[], written: Json[], place: Place, field: string, parent: string): void {
    const keys = listKeys(field, parent, approved, written);
    if (keys === undefined) {
      if (approved.length !== written.length) {
        if (!deepEqual(approved, written)) this.#differ('different', place, approved, written);
        return;
      }
      for (const [i, item] of approved.entries())
        this.#values(item, written[i]!, below(place, { index: i }, i), '', parent);
      return;
    }
    const positions = new Map(keys.after.map((key, i) => [key, i]));
    for (const [i, key] of keys.before.entries()) {
      const at = positions.get(key);
      if (at === undefined) this.#differ('missing', below(place, { item: key }, i), approved[i]!);
      else this.#values(approved[i]!, written[at]!, below(place, { item: key }, at), field, parent);
    }
    const wanted = new Set(keys.before);
    for (const [i, key] of keys.after.entries())
      if (!wanted.has(key)) this.#extra(written[i]!, below(place, { item: key }, i), {}, parent);
    const kept = keys.after.filter((key) => wanted.has(key));
    const expected = keys.before.filter((key) => positions.has(key));
    if (kept.some((key, i) => key !== expected[i])) this.#differ('order', place, expected, kept);
  }

  #differ(kind: ApprovedDifference['kind'], place: Place, approved: Json, written?: Json): void {
    const by = this.#writers(place);
    this.differences.push({
      path: place.path,
      kind,
      approved,
      ...(written !== undefined && { written }),
      ...(by.length > 0 && { by }),
    });
  }

  /** A field that nobody approved: as a whole where it is explained so, else each of its parts. */
  #extra(value: Json, place: Place, holder: JsonObject, parent: string): void {
    const by = this.#writers(place);
    const label = by.length > 0 ? 'admission' : this.#labelOf(value, place, holder);
    if (label !== undefined) {
      this.extras.push({ path: place.path, label, value, ...(by.length > 0 && { by }) });
      return;
    }
    if (Array.isArray(value) && value.length > 0) {
      const field = place.steps.findLast((step) => typeof step === 'string') ?? '';
      const keys = listKeys(String(field), parent, value, value)?.after;
      for (const [i, item] of value.entries())
        this.#extra(item, below(place, keys ? { item: keys[i]! } : { index: i }, i), {}, parent);
      return;
    }
    if (isMap(value) && Object.keys(value).length > 0) {
      for (const key of Object.keys(value))
        this.#extra(value[key]!, below(place, { key }, key), value, parent);
      return;
    }
    const maybe = this.#mutations
      .filter((mutation) => mutation.paths === undefined)
      .map(({ webhook }) => webhook);
    this.extras.push({
      path: place.path,
      label: 'unexplained',
      value,
      ...(maybe.length > 0 && { by: maybe }),
    });
  }

  #labelOf(value: Json, { pattern, steps }: Place, holder: JsonObject): ExtraLabel | undefined {
    const [first, second, third] = steps;
    if (first === 'status' && steps.length === 1) return 'server';
    if (first === 'metadata' && steps.length === 2) {
      // What was approved without a namespace was written into the one that the request named.
      if (isServerMetadata(String(second)) || second === 'namespace') return 'server';
    }
    if (first === 'metadata' && steps.length === 3 && typeof third === 'string') {
      if ((second === 'labels' || second === 'annotations') && isToolMetadata(second, third)) return 'tool';
      if (third === 'deployment.kubernetes.io/revision' && second === 'annotations') return 'server';
    }
    if (isDefault(this.#type, pattern, value, holder)) return 'default';
    return undefined;
  }

  #writers({ steps }: Place): string[] {
    return this.#mutations.filter((mutation) => wrote(mutation, steps)).map(({ webhook }) => webhook);
  }
}

/** Plain booleans and numbers of the built-in types, which the server leaves out at zero. Of a pointer zero means something. */
const ZERO_IS_NOTHING = new Set([
  ...['hostNetwork', 'hostPID', 'hostIPC', 'stdin', 'stdinOnce', 'tty', 'readOnly', 'paused'],
  ...['publishNotReadyAddresses', 'minReadySeconds'],
]);

/** What the server's `omitempty` leaves out, so that it is the same as nothing. */
function isLeftOut(key: string, value: Json): boolean {
  if (value === false || value === 0) return ZERO_IS_NOTHING.has(key);
  return value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
}

const AMOUNTS =
  /\.(limits|requests|capacity|hard|allocatable|sizeLimit|default|defaultRequest|max|min)(\.|\[|$)/;

/** The server writes amounts in its own way: `1000m` as `1`. */
function isSameAmount(approved: Json, written: Json, { pattern }: Place): boolean {
  if (!AMOUNTS.test(pattern)) return false;
  const amount = quantityOf(approved);
  return amount !== undefined && amount === quantityOf(written);
}

function isMap(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
