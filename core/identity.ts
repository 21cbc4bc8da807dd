import type { AuditEvent, ObjectReference } from './audit-event.js';
import { canonicalJson, sha256 } from './canonical.js';
import { RecentMap } from './recent.js';

/** Which object of a cluster, across all its lives. `namespace` and `name` are '' where there is none. */
export interface ObjectKey {
  apiGroup: string;
  resource: string;
  namespace: string;
  name: string;
}

function uuidFrom(bytes: Buffer): string {
  const hex = bytes.toString('hex', 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

/**
 * The id of a request, and of the change it makes: a UUIDv8 (RFC 9562) of 48 bits of milliseconds, so that ids sort
 * by time and tell their partition, and 74 bits of SHA-256. All stages of a request share it; a reused auditID on
 * another request does not, since auditID is the client's to choose and the time is not.
 */
export function requestID(event: AuditEvent): string {
  const bytes = sha256(
    `${event.auditID}\n${event.requestReceivedTimestamp}\n${event.verb}\n${event.requestURI}\n${event.user.username}`,
  );
  return timedUuid(event.requestReceivedTimestamp, bytes);
}

/** The id of one item's deletion inside a deletecollection. */
export function itemChangeID(
  collectionChangeID: string,
  at: number,
  key: ObjectKey,
  uid: string | undefined,
): string {
  return timedUuid(at, sha256(`${collectionChangeID}\n${canonicalJson(key)}\n${uid ?? ''}`));
}

function timedUuid(micros: number, bytes: Buffer): string {
  bytes.writeUIntBE(Math.max(0, Math.min(Math.floor(micros / 1000), 2 ** 48 - 1)), 0, 6);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return uuidFrom(bytes);
}

/** Milliseconds since the epoch of a request or change id. */
export function millisOfID(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** Hashing takes ten times as long as looking it up: worth it for what events name again and again. */
const objectIDs = new RecentMap<string, string>(5000);

/** The id of an object: the first 16 bytes of the SHA-256 of its key. */
export function objectID(key: ObjectKey): string {
  const text = `${key.apiGroup}\n${key.resource}\n${key.namespace}\n${key.name}`;
  const known = objectIDs.get(text);
  if (known) return known;
  const id = uuidFrom(sha256(text));
  objectIDs.set(text, id);
  return id;
}

/** The id of a dictionary entry: the first 8 bytes of the SHA-256 of its canonical text, as a signed 64-bit integer. */
export function dictionaryID(text: string): bigint {
  return sha256(text).readBigInt64BE(0);
}

export function objectKey(ref: ObjectReference): ObjectKey {
  return {
    apiGroup: ref.apiGroup ?? '',
    resource: ref.resource ?? '',
    namespace: ref.namespace ?? '',
    name: ref.name ?? '',
  };
}
