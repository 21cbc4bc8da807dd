import type { AuditEvent, JsonObject, Level, UserInfo } from './audit-event.js';
import { accessKind, isJsonObject } from './classify.js';
import { itemChangeID, type ObjectKey, objectKey } from './identity.js';
import type { ChangeClass, Outcome } from './vocabulary.js';

/**
 * One effective write or access, as its terminal event tells it: the input of the projection (core/project.ts).
 * It can be rebuilt from a stored change, so that a late event re-projects what came after it.
 */
export interface Write {
  changeID: string;
  at: number;
  completedAt: number;
  class: ChangeClass;
  outcome: Outcome;
  verb: string;
  code: number | undefined;
  level: Level;
  requestURI: string;
  user: UserInfo;
  impersonated: UserInfo | undefined;
  userAgent: string | undefined;
  key: ObjectKey;
  apiVersion: string | undefined;
  subresource: string | undefined;
  /** From objectRef or the response; undefined where neither tells. */
  uid: string | undefined;
  request: unknown;
  response: unknown;
  truncated: boolean;
  /** One object that a deletecollection removed; its changeID is itemChangeID's. */
  itemOfCollection: boolean;
}

/** Annotation of k8s.io/apiserver/plugin/pkg/audit/truncate: both bodies were removed for size. */
const TRUNCATED = 'audit.k8s.io/truncated';

export function outcomeOf(event: AuditEvent): Outcome {
  if (event.stage === 'Panic') return 'panicked';
  return event.stage === 'ResponseStarted' ? 'started' : 'succeeded';
}

/** The write that a change-class event stands for. */
export function writeOf(event: AuditEvent, changeID: string, changeClass: ChangeClass): Write {
  const key = objectKey(event.objectRef ?? {});
  const response = metadataOf(event.responseObject);
  const request = metadataOf(event.requestObject);
  if (key.name === '' && event.verb !== 'deletecollection') {
    // generateName: only the response knows the name. A plain create has it in the body at the least.
    key.name = stringOf(response?.name) ?? stringOf(request?.name) ?? '';
  }
  if (key.resource === 'namespaces') key.namespace = '';
  return {
    changeID,
    at: event.requestReceivedTimestamp,
    completedAt: event.stageTimestamp,
    class: changeClass,
    outcome: outcomeOf(event),
    verb: event.verb,
    code: event.responseStatus?.code,
    level: event.level,
    requestURI: event.requestURI,
    user: event.user,
    impersonated: event.impersonatedUser,
    userAgent: event.userAgent,
    key,
    apiVersion: event.objectRef?.apiVersion,
    subresource: event.objectRef?.subresource,
    uid: stringOf(response?.uid) ?? event.objectRef?.uid ?? statusUid(event.responseObject),
    request: event.requestObject,
    response: event.responseObject,
    truncated: event.annotations?.[TRUNCATED] === 'true' || typeof event.requestObject === 'string',
    itemOfCollection: false,
  };
}

const PARTIAL = 'PartialObjectMetadata';

/** Subresources whose writes leave the object as it was, or change another one. */
const NO_VERSION = new Set(['eviction', 'token', 'exec', 'attach', 'portforward', 'proxy', 'log']);

/** Whether a write makes a version of its object. */
export function makesVersion(write: Write): boolean {
  return (
    !(write.subresource && NO_VERSION.has(write.subresource)) &&
    write.verb !== 'deletecollection' &&
    write.key.name !== ''
  );
}

/**
 * The object in a response body; undefined for a Status, a Scale, DeleteOptions, a Table, a PartialObjectMetadata
 * (partialMetadataOf), or a body that isn't there.
 */
export function objectOf(body: unknown, key: ObjectKey): JsonObject | undefined {
  if (!isJsonObject(body as never)) return undefined;
  const object = body as JsonObject;
  const metadata = metadataOf(object);
  if (!metadata || stringOf(metadata.name) === undefined) return undefined;
  if (
    object.kind === 'Status' ||
    object.kind === 'Scale' ||
    object.kind === 'Eviction' ||
    object.kind === 'Binding' ||
    object.kind === PARTIAL
  )
    return undefined;
  if (key.name !== '' && metadata.name !== key.name) return undefined;
  return object;
}

/**
 * The metadata of an object whose writer asked to be answered no more than that, as the garbage collector does
 * (meta.k8s.io/v1 PartialObjectMetadata).
 */
export function partialMetadataOf(body: unknown): JsonObject | undefined {
  return isJsonObject(body as never) && (body as JsonObject).kind === PARTIAL ? metadataOf(body) : undefined;
}

export function metadataOf(body: unknown): JsonObject | undefined {
  if (!isJsonObject(body as never)) return undefined;
  const metadata = (body as JsonObject).metadata;
  return isJsonObject(metadata) ? metadata : undefined;
}

export function stringOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A delete is answered by a Status whose details name the uid. */
function statusUid(body: unknown): string | undefined {
  if (!isJsonObject(body as never)) return undefined;
  const details = (body as JsonObject).details;
  return isJsonObject(details) ? stringOf(details.uid) : undefined;
}

/** The resourceVersion after a write, where it is one of etcd's revisions; they order an object's writes. */
export function revisionOf(body: unknown): bigint | undefined {
  const text = stringOf(metadataOf(body)?.resourceVersion);
  return text !== undefined && /^\d{1,18}$/.test(text) ? BigInt(text) : undefined;
}

export function isAccess(event: AuditEvent): boolean {
  return accessKind(event) !== undefined;
}

/** The objects that a deletecollection removed, where its response lists them; undefined where it doesn't. */
export function collectionItems(write: Write): Write[] | undefined {
  if (write.verb !== 'deletecollection' || !isJsonObject(write.response as never)) return undefined;
  const items = (write.response as JsonObject).items;
  if (!Array.isArray(items)) return undefined;
  const writes: Write[] = [];
  for (const item of items) {
    const metadata = metadataOf(item);
    const name = stringOf(metadata?.name);
    if (!metadata || !name) continue;
    const uid = stringOf(metadata.uid);
    const key = { ...write.key, namespace: stringOf(metadata.namespace) ?? write.key.namespace, name };
    const changeID = itemChangeID(write.changeID, write.at, key, uid);
    writes.push({
      ...write,
      changeID,
      class: 'derived',
      verb: 'delete',
      key,
      uid,
      request: undefined,
      response: item,
      itemOfCollection: true,
    });
  }
  return writes;
}
