import { hash } from 'node:crypto';
import type { AuditEvent, Json } from './audit-event.js';
import { formatMicros } from './timestamp.js';

/**
 * Canonical JSON text (RFC 8785, JCS): keys sorted by UTF-16 code units, no white space, numbers and strings as
 * ECMAScript writes them. Equal values give equal text whatever their key order. `undefined` members are left out.
 * Recursion is safe because decoding refuses deeper nesting than MAX_DEPTH.
 */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  let text = '';
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) text += (i === 0 ? '' : ',') + canonicalJson(value[i]);
    return `[${text}]`;
  }
  const object = value as Record<string, unknown>;
  for (const key of sortedKeys(object)) {
    const member = object[key];
    if (member === undefined) continue;
    text += `${text === '' ? '' : ','}${quoted(key)}:${canonicalJson(member)}`;
  }
  return `{${text}}`;
}

/** What JSON leaves as it is in a string: printable ASCII but the quote and the backslash. */
const PLAIN = /^[ !#-[\]-~]*$/;

function quoted(text: string): string {
  return text.length < 100 && PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** An object's keys in the order of canonical JSON. Go sorts the keys of its maps, so most objects need no sorting. */
export function sortedKeys(object: object): string[] {
  const keys = Object.keys(object);
  for (let i = 1; i < keys.length; i++) if (keys[i - 1]! > keys[i]!) return keys.sort();
  return keys;
}

export function sha256(data: string | Uint8Array): Buffer {
  return hash('sha256', data, 'buffer');
}

/** A body in its canonical text, with the digest that addresses it in the store. */
export interface CanonicalBody {
  text: string;
  digest: Buffer;
}

export function canonicalBody(value: Json): CanonicalBody {
  const text = canonicalJson(value);
  return { text, digest: sha256(text) };
}

/**
 * The text whose SHA-256 identifies an event within its source. Bodies stand in it by their digests, so that a body
 * can be erased lawfully while what was recorded of the event can still be proven.
 */
export function canonicalEvent(
  event: Omit<AuditEvent, 'requestObject' | 'responseObject'>,
  requestDigest: Uint8Array | undefined,
  responseDigest: Uint8Array | undefined,
): string {
  return canonicalJson({
    annotations: event.annotations,
    apiVersion: event.apiVersion,
    auditID: event.auditID,
    authenticationMetadata: event.authenticationMetadata,
    impersonatedUser: event.impersonatedUser,
    level: event.level,
    objectRef: event.objectRef,
    requestObject: requestDigest && { sha256: Buffer.from(requestDigest).toString('hex') },
    requestReceivedTimestamp: formatMicros(event.requestReceivedTimestamp),
    requestURI: event.requestURI,
    responseObject: responseDigest && { sha256: Buffer.from(responseDigest).toString('hex') },
    responseStatus: event.responseStatus,
    sourceIPs: event.sourceIPs,
    stage: event.stage,
    stageTimestamp: formatMicros(event.stageTimestamp),
    user: event.user,
    userAgent: event.userAgent,
    verb: event.verb,
  });
}
