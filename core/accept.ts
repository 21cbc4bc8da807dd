import type { AuditEvent, Json, Stage } from './audit-event.js';
import { canonicalBody, canonicalEvent, canonicalJson, sha256 } from './canonical.js';
import { awaitsOutcome, classifyEvent } from './classify.js';
import { DecodeError, decodeEvent } from './decode.js';
import { requestID } from './identity.js';
import { parseJson } from './parse-json.js';
import type { KeyedDigest } from './redact/keyed-digest.js';
import { redactEvent } from './redact/redact-event.js';
import { redactText } from './redact/redact-text.js';
import type { RedactionRules } from './redact/rules.js';
import type { EventClass } from './vocabulary.js';

/** What redaction needs: the rules, and the digest keyed outside the database. */
export interface Redaction {
  rules: RedactionRules;
  digest: KeyedDigest;
}

/** A redacted body: its canonical JSON in UTF-8, with its SHA-256. */
export interface AcceptedBody {
  digest: Buffer;
  json: Buffer;
}

/** The columns that the store will hold of an event, encoded by another thread (store/event-row.ts). */
export interface EncodedRow {
  columns: Buffer;
  /** How many bytes at their beginning refer to dictionary entries. */
  referenceBytes: number;
}

/** A decoded, redacted event, ready to be stored. Nothing in it holds a secret value. */
export interface AcceptedEvent {
  /** Where another thread accepted it, it is only parsed when it is asked for. */
  readonly event: AuditEvent;
  auditID: string;
  stage: Stage;
  /** Microseconds since the Unix epoch, as the event's. */
  requestReceivedTimestamp: number;
  stageTimestamp: number;
  /** It announces a write or an access, whose outcome is to follow. */
  awaitsOutcome: boolean;
  class: EventClass;
  requestID: string;
  digest: Buffer;
  request: AcceptedBody | undefined;
  response: AcceptedBody | undefined;
  /** The canonical JSON that `digest` is of. */
  json: Buffer;
  encodedRow: EncodedRow | undefined;
  /** Bytes received for it: what it weighs in memory limits. */
  size: number;
}

/** What could not be accepted, kept for inspection. `replayable`: the sample is a whole JSON value. */
export interface Rejection {
  reason: string;
  detail: string;
  sample: string;
  digest: Buffer;
  replayable: boolean;
}

export type Acceptance = { ok: true; accepted: AcceptedEvent } | { ok: false; rejection: Rejection };

/** A rejected original beyond this many characters is kept by its beginning. */
const MAX_SAMPLE = 64 * 1024;

/**
 * Reads one item of an EventList or one line of an audit log. Never throws for what the item holds.
 * `listVersion` is the apiVersion of the list around it.
 */
export function acceptItem(bytes: Buffer, listVersion: string | undefined, redaction: Redaction): Acceptance {
  const text = bytes.toString('utf8');
  let value: unknown;
  try {
    value = parseJson(text);
  } catch {
    const detail = `not valid JSON (${bytes.length} bytes); its text was kept with every value masked`;
    return { ok: false, rejection: rejectText('not_json', detail, text, redaction) };
  }
  return acceptValue(value, bytes.length, listVersion, redaction);
}

/** The same for a value that is parsed already (a replayed sample, a record mapped to an Event). */
export function acceptValue(
  value: unknown,
  size: number,
  listVersion: string | undefined,
  redaction: Redaction,
): Acceptance {
  try {
    const event = redactEvent(decodeEvent(value, listVersion), redaction.rules, redaction.digest);
    const request = acceptBody(event.requestObject);
    const response = acceptBody(event.responseObject);
    return {
      ok: true,
      accepted: {
        event,
        auditID: event.auditID,
        stage: event.stage,
        requestReceivedTimestamp: event.requestReceivedTimestamp,
        stageTimestamp: event.stageTimestamp,
        awaitsOutcome: awaitsOutcome(event),
        class: classifyEvent(event),
        requestID: requestID(event),
        ...canonicalEvent(event, request?.digest, response?.digest),
        request,
        response,
        encodedRow: undefined,
        size,
      },
    };
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return { ok: false, rejection: rejectValue(error, value, redaction) };
  }
}

/** The body that a value is stored as. */
export function acceptBody(value: Json): AcceptedBody;
export function acceptBody(value: Json | undefined): AcceptedBody | undefined;
export function acceptBody(value: Json | undefined): AcceptedBody | undefined {
  if (value === undefined) return undefined;
  return canonicalBody(value);
}

export function rejectText(reason: string, detail: string, text: string, redaction: Redaction): Rejection {
  const sample = redactText(text.slice(0, MAX_SAMPLE), redaction.digest)
    .replaceAll('\0', '\uFFFD')
    .toWellFormed();
  return { reason, detail, sample, digest: sha256(sample), replayable: false };
}

/** A JSON value that is not an Event may still hold bodies; it is redacted as if it were one as far as its shape allows. */
function rejectValue(error: DecodeError, value: unknown, redaction: Redaction): Rejection {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return rejectText(error.reason, error.message, JSON.stringify(value) ?? '', redaction);
  }
  let redacted: unknown;
  try {
    redacted = redactEvent(value as AuditEvent, redaction.rules, redaction.digest);
  } catch {
    // Fields of unexpected types can defeat redaction by meaning; masking every value can't be defeated.
    return rejectText(error.reason, error.message, JSON.stringify(value), redaction);
  }
  const sample = canonicalJson(redacted);
  if (sample.length > MAX_SAMPLE * 16) return rejectText(error.reason, error.message, sample, redaction);
  return { reason: error.reason, detail: error.message, sample, digest: sha256(sample), replayable: true };
}
