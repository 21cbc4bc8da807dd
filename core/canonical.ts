import { hash } from 'node:crypto';
import type { AuditEvent, Json } from './audit-event.js';
import { formatMicros, parseMicros } from './timestamp.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;

/** The scratch buffer is given back after a text of more than this. */
const MAX_KEPT_BYTES = 4 * 1024 * 1024;

/**
 * Writes canonical JSON as UTF-8 into a buffer that it uses again and again: joining strings instead would cost four
 * times as much. Recursion is safe because decoding refuses deeper nesting than MAX_DEPTH.
 */
class CanonicalWriter {
  #bytes: Buffer = Buffer.allocUnsafeSlow(64 * 1024);
  #length = 0;

  /** The canonical text of a value, valid until the next call. */
  write(value: unknown): Buffer {
    if (this.#bytes.length > MAX_KEPT_BYTES) this.#bytes = Buffer.allocUnsafeSlow(64 * 1024);
    this.#length = 0;
    this.#value(value);
    return this.#bytes.subarray(0, this.#length);
  }

  #value(value: unknown): void {
    if (typeof value === 'string') this.#string(value);
    else if (value === null || typeof value !== 'object') this.#literal(JSON.stringify(value) ?? 'null');
    else if (Array.isArray(value)) this.#array(value);
    else this.#object(value as Record<string, unknown>);
  }

  #array(array: readonly unknown[]): void {
    this.#byte(0x5b);
    for (let i = 0; i < array.length; i++) {
      if (i > 0) this.#byte(COMMA);
      this.#value(array[i]);
    }
    this.#byte(0x5d);
  }

  #object(object: Record<string, unknown>): void {
    this.#byte(0x7b);
    let first = true;
    for (const key of sortedKeys(object)) {
      const member = object[key];
      if (member === undefined) continue;
      if (!first) this.#byte(COMMA);
      first = false;
      this.#string(key);
      this.#byte(COLON);
      this.#value(member);
    }
    this.#byte(0x7d);
  }

  #string(text: string): void {
    const { length } = text;
    this.#reserve(length * 2 + 2);
    const bytes = this.#bytes;
    let at = this.#length;
    bytes[at++] = QUOTE;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x20 && code < 0x7f && code !== QUOTE && code !== BACKSLASH) {
        bytes[at++] = code;
      } else if (code === QUOTE || code === BACKSLASH) {
        bytes[at++] = BACKSLASH;
        bytes[at++] = code;
      } else if (code === 0x0a) {
        bytes[at++] = BACKSLASH;
        bytes[at++] = 0x6e;
      } else {
        this.#literal(JSON.stringify(text));
        return;
      }
    }
    bytes[at++] = QUOTE;
    this.#length = at;
  }

  #literal(text: string): void {
    this.#reserve(text.length * 3);
    this.#length += this.#bytes.write(text, this.#length, 'utf8');
  }

  #byte(byte: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = byte;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#length + bytes));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

const writer = new CanonicalWriter();

/**
 * Canonical JSON text (RFC 8785, JCS): keys sorted by UTF-16 code units, no white space, numbers and strings as
 * ECMAScript writes them. Equal values give equal text whatever their key order. `undefined` members are left out.
 */
export function canonicalJson(value: unknown): string {
  return writer.write(value).toString('utf8');
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

/** SHA-256 of a value's canonical JSON, without making a string of it. */
export function canonicalDigest(value: unknown): Buffer {
  return sha256(writer.write(value));
}

/** Canonical JSON in UTF-8, with its SHA-256. */
export interface Canonical {
  json: Buffer;
  digest: Buffer;
}

/** A body as it is stored; the digest addresses it. */
export function canonicalBody(value: Json): Canonical {
  const json = Buffer.from(writer.write(value));
  return { json, digest: sha256(json) };
}

/** An event without its bodies, which stand in its canonical JSON by their digests. */
type Envelope = Omit<AuditEvent, 'requestObject' | 'responseObject'>;

/**
 * An event's canonical JSON, and its SHA-256, which identifies it within its source. Bodies stand in it by their
 * digests, so that a body can be erased lawfully while what was recorded of the event can still be proven.
 */
export function canonicalEvent(
  event: Envelope,
  requestDigest: Uint8Array | undefined,
  responseDigest: Uint8Array | undefined,
): Canonical {
  const json = Buffer.from(
    writer.write({
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
    }),
  );
  return { json, digest: sha256(json) };
}

/** Reads the canonical JSON of an event back, without its bodies. */
export function parseCanonicalEvent(json: string): AuditEvent {
  const { requestObject: _request, responseObject: _response, ...event } = JSON.parse(json);
  event.requestReceivedTimestamp = parseMicros(event.requestReceivedTimestamp);
  event.stageTimestamp = parseMicros(event.stageTimestamp);
  return event as AuditEvent;
}
