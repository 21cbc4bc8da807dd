import type { JsonObject } from './audit-event.js';
import { CERTAINTIES, type Certainty } from './vocabulary.js';

/**
 * Why a field of a reconstructed object is not exact.
 *
 * - `patch`: the value a patch body asked for; admission and defaulting were not seen
 * - `request`: the value a create or update body asked for
 * - `older_version`: seen in an older version; a later write may have changed it
 * - `not_recorded`: a write is known whose content was not recorded (level Metadata, truncated, gap)
 */
export type Doubt = 'patch' | 'request' | 'older_version' | 'not_recorded';

/**
 * What is not exact in a state: `rest` holds for every field that no path of `paths` names; a path speaks for its
 * whole subtree, and the longest matching path wins. `null` marks a subtree that is exact after all.
 */
export interface Inferred {
  rest: Doubt | null;
  paths: Record<string, Doubt | null>;
}

/** An object's state after one write. `object` is undefined when it is gone, or when nothing of it was ever seen. */
export interface ObjectState {
  object: JsonObject | undefined;
  certainty: Certainty;
  inferred: Inferred | undefined;
}

export const NOTHING_KNOWN: ObjectState = { object: undefined, certainty: 'unknown', inferred: undefined };

export function exactState(object: JsonObject): ObjectState {
  return { object, certainty: 'exact', inferred: undefined };
}

/** What several things are together as sure as: the least sure of them. There must be one. */
export function lessSure(certainties: readonly Certainty[]): Certainty {
  return CERTAINTIES[Math.max(...certainties.map((item) => CERTAINTIES.indexOf(item)))]!;
}

/** How one field of a state is known, and why not better. */
export function certaintyOf(state: ObjectState, path: string): { certainty: Certainty; doubt?: Doubt } {
  if (state.object === undefined) return { certainty: 'unknown', doubt: 'not_recorded' };
  if (!state.inferred) return { certainty: 'exact' };
  let best = '';
  let doubt: Doubt | null = state.inferred.rest;
  for (const [prefix, why] of Object.entries(state.inferred.paths)) {
    if (prefix.length >= best.length && covers(prefix, path)) {
      best = prefix;
      doubt = why;
    }
  }
  if (doubt === null) return { certainty: 'exact' };
  return { certainty: doubt === 'not_recorded' ? 'unknown' : 'inferred', doubt };
}

function covers(prefix: string, path: string): boolean {
  return (
    path === prefix ||
    (path.startsWith(prefix) && (path[prefix.length] === '.' || path[prefix.length] === '['))
  );
}

/** The state a step later, when a write is known to have happened and only some of it was seen. */
export function doubted(
  state: ObjectState,
  object: JsonObject,
  touched: string[],
  why: Doubt | null,
  rest: Doubt,
): ObjectState {
  const paths: Record<string, Doubt | null> = {};
  const before = state.inferred;
  // What was in doubt stays in doubt: an older doubt is never lifted by a write that didn't show the field.
  if (before && rest === 'older_version') {
    for (const [path, doubt] of Object.entries(before.paths)) if (doubt !== null) paths[path] = doubt;
    if (before.rest === 'not_recorded') rest = 'not_recorded';
  }
  for (const path of touched) paths[path] = why;
  return { object, certainty: 'inferred', inferred: { rest, paths } };
}
