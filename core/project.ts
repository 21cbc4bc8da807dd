import type { Json, JsonObject } from './audit-event.js';
import type { Change, Flag, Projection, Version } from './change.js';
import { changeKind, isCreation, removesLastFinalizer } from './change-kind.js';
import { isJsonObject } from './classify.js';
import { diffObjects, type FieldChange } from './diff/diff.js';
import { fieldTerms, formerLabelTerm, parseFieldPath } from './diff/field-path.js';
import { significantChanges } from './diff/noise.js';
import { summarizeChanges } from './diff/summarize.js';
import { leavesBelow } from './leaves.js';
import { nextState } from './next-state.js';
import { patchTypeOf, requestedChanges } from './requested.js';
import {
  collectionItems,
  makesVersion,
  metadataOf,
  objectOf,
  revisionOf,
  stringOf,
  type Write,
} from './write.js';

/** A diff of more entries than this, and of more fields that came or went with them, is searched by its first ones only. */
const MAX_TERMS = 400;

/**
 * Orders one object's writes: by resourceVersion where known, which is the order of etcd; a write without one (a
 * delete answered by a Status, level Metadata) stands after the last write that had completed by then.
 */
export function orderWrites(writes: Write[]): Write[] {
  const known: Array<{ write: Write; rv: bigint }> = [];
  const rest: Write[] = [];
  for (const write of writes) {
    const rv = revisionOf(write.response);
    if (rv === undefined) rest.push(write);
    else known.push({ write, rv });
  }
  known.sort((a, b) => (a.rv < b.rv ? -1 : a.rv > b.rv ? 1 : a.write.completedAt - b.write.completedAt));
  rest.sort((a, b) => a.completedAt - b.completedAt);
  const ordered = known.map((item) => item.write);
  for (const write of rest) {
    let place = ordered.length;
    while (place > 0 && ordered[place - 1]!.completedAt > write.completedAt) place--;
    ordered.splice(place, 0, write);
  }
  return ordered;
}

/**
 * Turns an object's writes into changes, each compared with the version before it. `before` is the version that the
 * first write found, or undefined when none is known. Writes must be in order (orderWrites).
 */
export function projectWrites(before: Version | undefined, writes: Write[]): Projection[] {
  const projections: Projection[] = [];
  let version = before;
  for (const write of writes) {
    if (isNoOp(write, version)) {
      projections.push({ write, noOp: true });
      continue;
    }
    const change = projectWrite(write, version);
    projections.push({ write, noOp: false, change });
    if (change.after) version = change.after;
  }
  return projections;
}

/** Writing what is there already is skipped by the storage, which then answers with the same resourceVersion (etcd3/store.go). */
function isNoOp(write: Write, before: Version | undefined): boolean {
  if ((write.verb !== 'update' && write.verb !== 'patch') || write.code === 201 || write.class === 'access')
    return false;
  // The update that removes the last finalizer deletes the object; its answer shows the version that was there.
  if (removesLastFinalizer(write)) return false;
  const after = revisionOf(write.response);
  if (after === undefined) return false;
  if (before && !before.deleted && before.orderRV === after && before.uid === write.uid) return true;
  return write.verb === 'update' && !write.subresource && revisionOf(write.request) === after;
}

function projectWrite(write: Write, before: Version | undefined): Change {
  const flags: Flag[] = [];
  if (write.truncated) flags.push('truncated');
  if (write.itemOfCollection) flags.push('item_of_collection');
  if (!makesVersion(write)) return withoutVersion(write, flags, before);

  const recreated =
    before !== undefined &&
    !before.deleted &&
    write.uid !== undefined &&
    before.uid !== undefined &&
    before.uid !== write.uid;
  if (recreated) flags.push('recreated');
  const previous = before && !before.deleted && !recreated ? before : undefined;
  const creation = isCreation(write);
  const { state, deleted, pending } = nextState(write, creation ? undefined : previous);
  if (pending) flags.push('deletion_pending');
  if (state.certainty === 'unknown' && !deleted) flags.push('content_not_recorded');

  const metadata = metadataOf(state.object);
  const generation = typeof metadata?.generation === 'number' ? metadata.generation : undefined;
  if (previous?.generation !== undefined && generation !== undefined && generation - previous.generation > 1)
    flags.push('generation_gap');

  let diff: FieldChange[] | undefined;
  let formerLabels: string[] = [];
  const removing = write.verb === 'delete' || deleted;
  if (!creation && !removing) {
    // A version with unrecorded writes in it would lay others' doing at this actor's door.
    const comparable = previous?.state.object && previous.state.certainty !== 'unknown';
    if (comparable && state.object && state.certainty !== 'unknown') {
      diff = diffObjects(previous!.state.object!, state.object);
      const labels = new Set(labelsOf(state.object));
      formerLabels = labelsOf(previous!.state.object).filter((label) => !labels.has(label));
    } else if (state.certainty !== 'unknown' || write.request !== undefined) {
      flags.push('before_unknown');
      diff = requestedChanges(write, state.object);
    }
  }
  const significant = diff && significantChanges(diff);
  const kind = changeKind(write, significant);
  const shown = removing ? previous?.state.object : state.object;
  const base = previous ?? (recreated ? undefined : before);
  return {
    write,
    class: isBookkeeping(write, significant) && kind === 'update' ? 'status' : write.class,
    kind,
    patchType: patchTypeOf(write),
    before: previous,
    after: {
      orderRV: revisionOf(write.response) ?? base?.orderRV ?? 0n,
      at: write.at,
      uid: write.uid ?? (creation ? undefined : previous?.uid),
      generation: generation ?? (creation ? undefined : previous?.generation),
      deleted,
      state,
    },
    resourceVersion: stringOf(metadataOf(write.response)?.resourceVersion),
    diff: significant,
    fieldTerms: [...termsOf(significant), ...formerLabels.map(formerLabelTerm)],
    labels: labelsOf(shown ?? state.object),
    summary: summarizeChanges(kind, significant ?? [], shown, flags),
    flags: withImpersonation(write, flags),
  };
}

/** A write that is known to have changed nothing but status, timestamps and the like. */
function isBookkeeping(write: Write, significant: FieldChange[] | undefined): boolean {
  return (
    significant !== undefined &&
    significant.length === 0 &&
    write.class !== 'access' &&
    !removesLastFinalizer(write)
  );
}

/** `before`: the object that it was done to, as far as it is known. */
function withoutVersion(write: Write, flags: Flag[], before: Version | undefined): Change {
  const kind = changeKind(write, undefined);
  if (kind === 'delete_collection' && collectionItems(write) === undefined) flags.push('items_unknown');
  // Some apiservers leave an eviction's body out, and with it whether it was a dry run. At level Metadata a name made
  // by the apiserver isn't told either.
  const unnamed = kind === 'create' && write.key.name === '';
  if (unnamed || (kind === 'eviction' && write.request === undefined)) flags.push('content_not_recorded');
  return {
    write,
    class: write.class,
    kind,
    patchType: undefined,
    before: undefined,
    after: undefined,
    resourceVersion: undefined,
    diff: undefined,
    fieldTerms: [],
    labels: labelsOf(objectOf(write.response, write.key) ?? before?.state.object),
    summary: summarizeChanges(
      kind,
      [],
      isJsonObject(write.request as Json) ? (write.request as JsonObject) : undefined,
      flags,
      write.requestURI,
    ),
    flags: withImpersonation(write, flags),
  };
}

function withImpersonation(write: Write, flags: Flag[]): Flag[] {
  return write.impersonated ? [...flags, 'impersonated'] : flags;
}

function termsOf(diff: FieldChange[] | undefined): string[] {
  if (!diff || diff.length === 0) return [];
  const terms = new Set<string>();
  const searched = diff.slice(0, MAX_TERMS);
  const paths = [...searched.map(({ path }) => path), ...searched.flatMap(pathsWithin).slice(0, MAX_TERMS)];
  for (const path of paths) for (const term of fieldTerms(path)) terms.add(term);
  return [...terms];
}

/** The fields that came or went with what is one entry of a diff: a container's image, when the container is new. */
function pathsWithin({ path, op, before, after }: FieldChange): string[] {
  const value = op === 'add' ? after : op === 'remove' ? before : undefined;
  if (value === null || typeof value !== 'object') return [];
  const keys = parseFieldPath(path).flatMap((segment) => ('key' in segment ? [segment.key] : []));
  return leavesBelow(value, path, keys.at(-1) ?? '', keys.at(-2) ?? '').map((leaf) => leaf.path);
}

function labelsOf(object: JsonObject | undefined): string[] {
  const labels = metadataOf(object)?.labels;
  if (!isJsonObject(labels)) return [];
  return Object.entries(labels)
    .filter((entry) => typeof entry[1] === 'string')
    .map(([key, value]) => `${key}=${value}`);
}
