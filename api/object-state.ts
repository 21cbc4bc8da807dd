import { type Static, Type } from 'typebox';
import type { JsonObject } from '../core/audit-event.js';
import { diffObjects } from '../core/diff/diff.js';
import { significantChanges } from '../core/diff/noise.js';
import { leavesOf } from '../core/leaves.js';
import { certaintyOf, type Doubt, lessSure, type ObjectState } from '../core/state.js';
import { CERTAINTIES } from '../core/vocabulary.js';
import type { StateRow } from '../store/queries/objects.js';
import { ArchivedFlag, type FieldChangeSchema, words } from './change-schema.js';

/** An object's state at a time, and how sure each field of it is. */
export const StateSchema = Type.Object({
  archived: ArchivedFlag,
  exists: words(['yes', 'no', 'unknown']),
  object: Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()], {
    description: 'the state; of a deleted object its last one',
  }),
  certainty: words(CERTAINTIES),
  at: Type.Optional(Type.String({ description: 'when this version was written' })),
  change: Type.Optional(Type.String()),
  resourceVersion: Type.Optional(Type.String()),
  notes: Type.Array(Type.String()),
  fields: Type.Optional(
    Type.Array(
      Type.Object({
        path: Type.String(),
        value: Type.Unknown(),
        certainty: words(CERTAINTIES),
        doubt: Type.Optional(Type.String()),
      }),
    ),
  ),
});
type State = Static<typeof StateSchema>;

/** Why a field is not exact, in words. */
const DOUBTS: Record<Doubt, string> = {
  patch: 'as a patch asked for it; what admission and defaulting made of it was not recorded',
  request: 'as the request asked for it; what admission and defaulting made of it was not recorded',
  older_version: 'seen in an older version; a later write did not show it',
  not_recorded: 'the last value seen; a later write was recorded without its content',
};

/** A state as the API gives it; without a row, that nothing is known. */
export function stateItem(row: StateRow | undefined, withFields: boolean): State {
  if (!row)
    return {
      exists: 'unknown',
      object: null,
      certainty: 'unknown',
      notes: ['nothing is recorded of this object at that time'],
    };
  const state = { object: row.object, certainty: row.certainty, inferred: row.inferred ?? undefined };
  const notes: string[] = [];
  if (row.deleted) notes.push(`deleted at ${row.at}; its last known state is shown`);
  if (row.flags?.includes('deletion_pending')) notes.push('its deletion had been asked for');
  if (!row.object) notes.push('a write is known, but nothing of its content was recorded');
  else if (row.certainty === 'unknown')
    notes.push(`the write at ${row.at} was recorded without its content; values are the last ones seen`);
  else if (row.certainty === 'inferred')
    notes.push('worked out from requests and older versions; see the certainty of each field');
  return {
    exists: row.deleted ? 'no' : 'yes',
    object: row.object ?? null,
    certainty: row.certainty,
    at: row.at,
    change: row.change_id,
    ...(row.resource_version && { resourceVersion: row.resource_version }),
    notes,
    ...(withFields && row.object && { fields: fieldItems(row.object, state) }),
  };
}

function fieldItems(object: JsonObject, state: ObjectState): NonNullable<State['fields']> {
  return leavesOf(object)
    .filter(({ path }) => !path.startsWith('metadata.managedFields'))
    .map(({ path, value }) => {
      const { certainty, doubt } = certaintyOf(state, path);
      return { path, value, certainty, ...(doubt && { doubt: DOUBTS[doubt] }) };
    });
}

/** Differences that matter, each as sure as the less sure of its sides; null where a side is not known. */
export function compared(
  from: StateRow | undefined,
  to: StateRow | undefined,
): Static<typeof FieldChangeSchema>[] | null {
  const before = from && !from.deleted ? from.object : undefined;
  const after = to && !to.deleted ? to.object : undefined;
  if (!before || !after) return null;
  const sides = [from, to].map((row) => ({
    object: row!.object,
    certainty: row!.certainty,
    inferred: row!.inferred ?? undefined,
  }));
  return significantChanges(diffObjects(before, after)).map((change) => {
    return { ...change, certainty: lessSure(sides.map((side) => certaintyOf(side, change.path).certainty)) };
  });
}
