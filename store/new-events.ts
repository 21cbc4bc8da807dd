import type { AcceptedEvent, Rejection } from '../core/accept.js';
import { CHANGE_CLASSES, type ChangeClass, type EventClass } from '../core/vocabulary.js';
import { collectionItems, writeOf } from '../core/write.js';
import type { PendingWrite } from './changes-writer.js';
import type { KnownEvents } from './known-events.js';
import type { PendingRecord } from './log/pending.js';
import type { AdvancedPart, ObjectPart } from './source-objects.js';

/** Events of one source that must become durable together or not at all. */
export interface Batch {
  sourceID: number;
  clusterID: number;
  /** Our clock when they came in, microseconds. */
  receivedAt: number;
  accepted: AcceptedEvent[];
  rejections: Rejection[];
  /** The object that they were read from, whose row moves in the same transaction. */
  object?: ObjectPart;
}

export interface AppendResult {
  stored: number;
  duplicates: number;
  quarantined: number;
  /** The object's lease ended meanwhile: its events are stored, and somebody else may be reading it. */
  leaseLost?: boolean;
}

/** Must equal the increment of ingest_seq: a transaction takes one block of numbers. */
const SEQ_BLOCK = 65_536;

/** An event that the store doesn't have, with the number it gets. */
export interface NewEvent {
  batch: Batch;
  accepted: AcceptedEvent;
  class: EventClass;
  seq: number;
}

/** The events that the store doesn't have, each with its number. */
export function newEvents(
  batches: Batch[],
  known: KnownEvents,
  firstSeq: number,
  results: Map<Batch, AppendResult>,
): NewEvent[] {
  const events: NewEvent[] = [];
  for (const batch of batches) {
    const result = results.get(batch)!;
    for (const accepted of batch.accepted) {
      if (!known.isNew(batch.sourceID, accepted)) {
        result.duplicates++;
        continue;
      }
      if (events.length >= SEQ_BLOCK)
        throw new RangeError(`more than ${SEQ_BLOCK} events in one transaction`);
      result.stored++;
      events.push({ batch, accepted, class: accepted.class, seq: firstSeq + events.length });
    }
  }
  return events;
}

export function pendingRecord({ batch, accepted }: NewEvent): PendingRecord {
  return {
    originID: batch.sourceID,
    at: accepted.requestReceivedTimestamp,
    digest: accepted.digest,
  };
}

/** What the batches of objects stored. A batch's events stand one after another, so their numbers are one range. */
export function objectParts(batches: Batch[], events: NewEvent[]): Map<Batch, AdvancedPart> {
  const parts = new Map<Batch, AdvancedPart>();
  for (const batch of batches) {
    if (batch.object) parts.set(batch, { part: batch.object, stored: 0, seq: undefined });
  }
  if (parts.size === 0) return parts;
  for (const { batch, seq } of events) {
    const part = parts.get(batch);
    if (!part) continue;
    part.stored++;
    part.seq = { from: part.seq?.from ?? seq, to: seq + 1 };
  }
  return parts;
}

export function isChangeClass(eventClass: EventClass): eventClass is ChangeClass {
  return (CHANGE_CLASSES as readonly string[]).includes(eventClass);
}

/** The writes to project: one per request, its terminal stage where that has been seen. */
export function pendingWrites(events: NewEvent[], known: KnownEvents): PendingWrite[] {
  const byRequest = new Map<string, PendingWrite>();
  const items: PendingWrite[] = [];
  for (const { accepted, class: eventClass, batch, seq } of events) {
    if (!isChangeClass(eventClass)) continue;
    const write = writeOf(accepted.event, accepted.requestID, eventClass);
    if (known.hasFinalStage(accepted) && write.outcome === 'started') continue;
    if (known.isProjected(accepted)) continue;
    const earlier = byRequest.get(accepted.requestID);
    if (earlier && earlier.write.outcome !== 'started') continue;
    const pending = { write, accepted, sourceID: batch.sourceID, seq };
    byRequest.set(accepted.requestID, pending);
    for (const item of collectionItems(write) ?? []) items.push({ ...pending, write: item });
  }
  return [...byRequest.values(), ...items];
}

/** Sets each event's class now that it is known what it changed; copies of one stage have the class of the first. */
export function settleClasses(
  events: NewEvent[],
  projected: ReadonlyMap<AcceptedEvent, EventClass>,
  known: KnownEvents,
): void {
  const firstCopies = new Map<string, EventClass>();
  for (const event of events) {
    if (!isChangeClass(event.class)) continue;
    const key = `${event.accepted.requestID} ${event.accepted.stage}`;
    const own = projected.get(event.accepted);
    if (own !== undefined && !firstCopies.has(key)) firstCopies.set(key, own);
    event.class = own ?? firstCopies.get(key) ?? known.classFromElsewhere(event.accepted) ?? event.class;
  }
}

/** Writes whose first stage came in and whose outcome hasn't. */
export function openedRequests(
  events: NewEvent[],
  known: KnownEvents,
): Array<{ accepted: AcceptedEvent; sourceID: number }> {
  const finished = new Set<string>();
  for (const { accepted } of events) if (accepted.class !== 'stage') finished.add(accepted.requestID);
  return events.flatMap(({ accepted, batch }) => {
    if (!accepted.awaitsOutcome) return [];
    if (finished.has(accepted.requestID) || known.hasOutcome(accepted)) return [];
    return [{ accepted, sourceID: batch.sourceID }];
  });
}

/** Requests that were open and have their outcome now. */
export function closedRequests(events: NewEvent[], known: KnownEvents): string[] {
  const closed = new Set<string>();
  for (const { accepted } of events) {
    if (accepted.class !== 'stage' && known.hasReceivedStage(accepted)) closed.add(accepted.requestID);
  }
  return [...closed];
}
