import type { Json, JsonObject } from './audit-event.js';
import type { Version } from './change.js';
import { isCreation, removesLastFinalizer } from './change-kind.js';
import { isJsonObject } from './classify.js';
import { applyPatch } from './patch/apply-patch.js';
import { patchTypeOf } from './requested.js';
import { type Doubt, doubted, exactState, NOTHING_KNOWN, type ObjectState } from './state.js';
import { metadataOf, objectOf, partialMetadataOf, type Write } from './write.js';

export interface NextState {
  state: ObjectState;
  deleted: boolean;
  /** A delete that finalizers or a grace period still hold up. */
  pending: boolean;
}

/**
 * The object's state after a write. Exact where the response shows the object; otherwise worked out from the request
 * and the version before, and labelled so. Responses are diffed and patches replayed only for want of a response:
 * admission, defaulting and conflicts make a replayed patch a guess.
 */
export function nextState(write: Write, previous: Version | undefined): NextState {
  const response = objectOf(write.response, write.key);
  if (write.verb === 'delete') return afterDelete(write, response, previous);
  if (response) {
    return { state: exactState(response), deleted: removesLastFinalizer(write), pending: false };
  }
  const inferred = inferredState(write, previous?.state ?? NOTHING_KNOWN);
  const metadata = partialMetadataOf(write.response);
  if (!metadata) return { state: inferred, deleted: false, pending: false };
  return { state: withMetadata(inferred, metadata), deleted: removesLastFinalizer(write), pending: false };
}

/** A state of which the metadata was seen after all. */
function withMetadata(state: ObjectState, metadata: JsonObject): ObjectState {
  const paths: Record<string, Doubt | null> = {};
  for (const [path, doubt] of Object.entries(state.inferred?.paths ?? {}))
    if (!/^metadata\b/.test(path)) paths[path] = doubt;
  paths.metadata = null;
  return {
    object: { ...state.object, metadata },
    certainty: state.object ? state.certainty : 'unknown',
    inferred: { rest: state.object ? (state.inferred?.rest ?? null) : 'not_recorded', paths },
  };
}

function afterDelete(
  write: Write,
  response: JsonObject | undefined,
  previous: Version | undefined,
): NextState {
  const partial = partialMetadataOf(write.response);
  const metadata = metadataOf(response) ?? partial;
  const finalizers = Array.isArray(metadata?.finalizers) && metadata.finalizers.length > 0;
  const grace =
    typeof metadata?.deletionGracePeriodSeconds === 'number' && metadata.deletionGracePeriodSeconds > 0;
  const held = typeof metadata?.deletionTimestamp === 'string' && (finalizers || grace);
  const namespace = write.key.resource === 'namespaces' && typeof metadata?.deletionTimestamp === 'string';
  // The last state stays on the row as what was deleted: from the answer if it holds the object, else from history.
  const before = previous?.state ?? NOTHING_KNOWN;
  const last = response ? exactState(response) : partial ? withMetadata(before, partial) : before;
  if (held || namespace) return { state: last, deleted: false, pending: true };
  return { state: last, deleted: true, pending: false };
}

function inferredState(write: Write, before: ObjectState): ObjectState {
  const request = isJsonObject(write.request as Json) ? (write.request as JsonObject) : undefined;
  const scale = scaleOf(write.response) ?? (write.subresource === 'scale' ? scaleOf(request) : undefined);
  if (write.subresource === 'scale' && scale !== undefined && before.object) {
    const spec = isJsonObject(before.object.spec) ? before.object.spec : {};
    const object = { ...before.object, spec: { ...spec, replicas: scale } };
    return doubted(
      before,
      object,
      ['spec.replicas'],
      scaleOf(write.response) === undefined ? 'request' : null,
      'older_version',
    );
  }
  if (write.subresource === 'binding' && before.object) {
    const target = request && isJsonObject(request.target) ? request.target.name : undefined;
    if (typeof target === 'string') {
      const spec = isJsonObject(before.object.spec) ? before.object.spec : {};
      return doubted(
        before,
        { ...before.object, spec: { ...spec, nodeName: target } },
        ['spec.nodeName'],
        'request',
        'older_version',
      );
    }
  }
  if (write.subresource === 'status' && before.object && !(write.verb === 'update' && request)) {
    return doubted(before, before.object, ['status'], 'not_recorded', 'older_version');
  }
  if (write.verb === 'patch' && !isCreation(write)) {
    const type = patchTypeOf(write);
    const patched = before.object && type && applyPatch(type, before.object, write.request as Json);
    if (patched) return doubted(before, patched.object, patched.touched, 'patch', 'older_version');
  } else if (request && metadataOf(request)) {
    const object =
      write.subresource === 'status' && before.object
        ? { ...before.object, status: request.status ?? null }
        : request;
    return doubted({ ...before, inferred: undefined }, object, [], 'request', 'request');
  }
  if (!before.object) return NOTHING_KNOWN;
  return { object: before.object, certainty: 'unknown', inferred: { rest: 'not_recorded', paths: {} } };
}

function scaleOf(body: unknown): number | undefined {
  if (!isJsonObject(body as Json) || (body as JsonObject).kind !== 'Scale') return undefined;
  const spec = (body as JsonObject).spec;
  if (!isJsonObject(spec)) return undefined;
  // A scale to zero leaves the field out (omitempty).
  return typeof spec.replicas === 'number' ? spec.replicas : 0;
}
