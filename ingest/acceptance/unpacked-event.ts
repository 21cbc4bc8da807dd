import type { AcceptedBody, AcceptedEvent, EncodedRow } from '../../core/accept.js';
import { type AuditEvent, type Json, STAGES, type Stage } from '../../core/audit-event.js';
import { parseCanonicalEvent } from '../../core/canonical.js';
import { EVENT_CLASSES, type EventClass } from '../../core/vocabulary.js';

/** Where the numbers of an event stand in its part of `events`. */
export const EVENT = {
  class: 0,
  stage: 1,
  awaitsOutcome: 2,
  requestReceivedTimestamp: 3,
  stageTimestamp: 4,
  size: 5,
  digest: 6,
  jsonStart: 7,
  jsonEnd: 8,
  columnsStart: 9,
  columnsEnd: 10,
  referenceBytes: 11,
  /** Its bodies, by their place in `bodies`, or -1. */
  request: 12,
  response: 13,
  numbers: 14,
} as const;

/** Where the numbers of a body stand in its part of `bodies`. */
export const BODY = {
  digest: 0,
  jsonStart: 1,
  jsonEnd: 2,
} as const;

/** What a message holds of its events, and where. */
export interface MessageParts {
  bytes: Buffer;
  events: Float64Array;
  bodies: Float64Array;
}

/**
 * An event that another thread has accepted: what every append needs at hand, the rest where it lies in the message. Views
 * of that are made when they are asked for: kept in every event, they would outlive many collections of young garbage.
 */
export class UnpackedEvent implements AcceptedEvent {
  readonly auditID: string;
  readonly requestID: string;
  readonly class: EventClass;
  readonly stage: Stage;
  readonly awaitsOutcome: boolean;
  readonly requestReceivedTimestamp: number;
  readonly stageTimestamp: number;
  readonly size: number;
  readonly #parts: MessageParts;
  readonly #at: number;
  #event: AuditEvent | undefined;

  /** `at`: where its numbers begin in `parts.events`. */
  constructor(parts: MessageParts, at: number, auditID: string, requestID: string) {
    const { events } = parts;
    this.#parts = parts;
    this.#at = at;
    this.auditID = auditID;
    this.requestID = requestID;
    this.class = EVENT_CLASSES[events[at + EVENT.class]!]!;
    this.stage = STAGES[events[at + EVENT.stage]!]!;
    this.awaitsOutcome = events[at + EVENT.awaitsOutcome] === 1;
    this.requestReceivedTimestamp = events[at + EVENT.requestReceivedTimestamp]!;
    this.stageTimestamp = events[at + EVENT.stageTimestamp]!;
    this.size = events[at + EVENT.size]!;
  }

  get digest(): Buffer {
    const { bytes, events } = this.#parts;
    const start = events[this.#at + EVENT.digest]!;
    return bytes.subarray(start, start + 32);
  }

  get encodedRow(): EncodedRow {
    const { bytes, events } = this.#parts;
    return {
      columns: bytes.subarray(events[this.#at + EVENT.columnsStart], events[this.#at + EVENT.columnsEnd]),
      referenceBytes: events[this.#at + EVENT.referenceBytes]!,
    };
  }

  get request(): AcceptedBody | undefined {
    return bodyAt(this.#parts, this.#parts.events[this.#at + EVENT.request]!);
  }

  get response(): AcceptedBody | undefined {
    return bodyAt(this.#parts, this.#parts.events[this.#at + EVENT.response]!);
  }

  get json(): Buffer {
    const { bytes, events } = this.#parts;
    return bytes.subarray(events[this.#at + EVENT.jsonStart], events[this.#at + EVENT.jsonEnd]);
  }

  get event(): AuditEvent {
    if (this.#event) return this.#event;
    const { request, response } = this;
    const event = parseCanonicalEvent(this.json.toString('utf8'));
    if (request) event.requestObject = JSON.parse(request.json.toString('utf8')) as Json;
    if (response) event.responseObject = JSON.parse(response.json.toString('utf8')) as Json;
    this.#event = event;
    return event;
  }
}

function bodyAt({ bytes, bodies }: MessageParts, at: number): AcceptedBody | undefined {
  if (at < 0) return undefined;
  const digest = bodies[at + BODY.digest]!;
  return {
    digest: bytes.subarray(digest, digest + 32),
    json: bytes.subarray(bodies[at + BODY.jsonStart], bodies[at + BODY.jsonEnd]),
  };
}
