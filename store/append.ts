import type { Socket } from 'node:net';
import type { ClientBase, Pool } from 'pg';
import type { AcceptedEvent, Rejection } from '../core/accept.js';
import { CHANGE_CLASSES, type ChangeClass, type EventClass } from '../core/vocabulary.js';
import { collectionItems, writeOf } from '../core/write.js';
import { BatchBodies, BodyCache } from './body-cache.js';
import { appendChanges, type PendingWrite } from './changes-writer.js';
import { beginNumbered } from './cluster-lock.js';
import { CopyRows, copyRows } from './copy.js';
import { Dictionaries, DictionaryIDs } from './dictionaries.js';
import { appendDictionaries, KnownEntries } from './dictionaries-writer.js';
import { EVENT_COLUMNS, writeEventRow } from './event-row.js';
import { findKnownEvents, type KnownEvents } from './known-events.js';
import { appendPending, type PendingRecord } from './log/pending.js';
import { ensurePartitions, monthOf } from './partitions.js';
import {
  appendFindings,
  appendOpenRequests,
  appendRejections,
  flagReusedAuditIDs,
  recordHealth,
} from './side-rows.js';
import { type AdvancedPart, advanceObjects, type ObjectPart } from './source-objects.js';
import { FirstStatistics } from './statistics.js';

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

interface NewEvent {
  batch: Batch;
  accepted: AcceptedEvent;
  class: EventClass;
  seq: number;
}

/**
 * Writes batches of events with everything that follows from them (changes, versions, bodies, dictionaries, findings)
 * in one transaction per cluster. When `append` has resolved, its batches are durable; appending them again changes
 * nothing. Writers of one cluster exclude each other by an advisory lock, in all processes: that makes versions
 * comparable, duplicates visible, and `seq` the order of commit.
 */
export class Ledger {
  readonly #pool: Pool;
  readonly #caches = new Map<number, ClusterCache>();
  readonly #months = new Set<number>();
  readonly #statistics = new FirstStatistics();
  readonly #bodyCacheBytes: number;

  constructor(pool: Pool, options: { bodyCacheBytes: number }) {
    this.#pool = pool;
    this.#bodyCacheBytes = options.bodyCacheBytes;
  }

  /**
   * One result per batch, in order. Batches may be of several clusters. At most 60,000 events at once. Fails after
   * `timeoutMs`, and what was committed by then, or still will be, is unknown: to be appended again.
   */
  async append(batches: readonly Batch[], timeoutMs = Number.POSITIVE_INFINITY): Promise<AppendResult[]> {
    const results = new Map<Batch, AppendResult>();
    const clusters = new Map<number, Batch[]>();
    for (const batch of batches) {
      results.set(batch, { stored: 0, duplicates: 0, quarantined: batch.rejections.length });
      const own = clusters.get(batch.clusterID);
      if (own) own.push(batch);
      else clusters.set(batch.clusterID, [batch]);
    }
    const client = await this.#pool.connect();
    // A Postgres that hangs answers nothing, not even a cancel: only losing the connection ends the wait.
    const timer = Number.isFinite(timeoutMs) ? setTimeout(() => disconnect(client), timeoutMs) : undefined;
    let broken: Error | undefined;
    try {
      await this.#ensurePartitions(client, batches);
      for (const [clusterID, own] of clusters) await this.#appendCluster(client, clusterID, own, results);
      await this.#statistics.gather(client);
    } catch (error) {
      broken = error as Error;
      await client.query('rollback').catch(() => undefined);
      throw error;
    } finally {
      clearTimeout(timer);
      client.release(broken);
    }
    return batches.map((batch) => results.get(batch)!);
  }

  async #ensurePartitions(client: ClientBase, batches: readonly Batch[]): Promise<void> {
    const months = new Set<number>();
    for (const batch of batches) {
      for (const { requestReceivedTimestamp } of batch.accepted) {
        const month = monthOf(requestReceivedTimestamp);
        if (!this.#months.has(month)) months.add(month);
      }
    }
    if (months.size === 0) return;
    await ensurePartitions(client, months);
    await this.#statistics.notice(client, months);
    for (const month of months) this.#months.add(month);
  }

  async #appendCluster(
    client: ClientBase,
    clusterID: number,
    batches: Batch[],
    results: Map<Batch, AppendResult>,
  ): Promise<void> {
    const cache = this.#cacheOf(clusterID);
    const { firstSeq, bodiesEpoch } = await beginNumbered(client, clusterID);
    if (cache.bodiesEpoch !== bodiesEpoch) {
      // Bodies that were known to be there may be gone.
      cache.bodies = new BodyCache(this.#bodyCacheBytes);
      cache.bodiesEpoch = bodiesEpoch;
    }
    const known = await findKnownEvents(
      client,
      clusterID,
      batches.flatMap((batch) => batch.accepted),
    );
    const events = newEvents(batches, known, firstSeq, results);

    const dictionaries = new Dictionaries(cache.ids);
    const bodies = new BatchBodies();
    const writes = pendingWrites(events, known);
    for (const { accepted } of events) {
      // Only what is projected is looked at.
      const event = isChangeClass(accepted.class) ? accepted.event : undefined;
      bodies.add(event?.requestObject, accepted.request);
      bodies.add(event?.responseObject, accepted.response);
    }
    const changes = await appendChanges(client, clusterID, writes, {
      dictionaries,
      bodies,
      bodyCache: cache.bodies,
      known,
    });
    settleClasses(events, changes.classes, known);

    const rows = new CopyRows();
    for (const event of events) {
      const place = { clusterID, sourceID: event.batch.sourceID, seq: event.seq, class: event.class };
      writeEventRow(rows, place, event.accepted, dictionaries, cache.entries);
    }
    await appendDictionaries(client, clusterID, dictionaries, cache.entries);
    await cache.bodies.append(client, clusterID, bodies.stored);
    await copyRows(client, 'events', EVENT_COLUMNS, rows);
    await appendPending(client, 'event', clusterID, firstSeq, events.map(pendingRecord));
    await changes.copy();
    await appendOpenRequests(client, clusterID, openedRequests(events, known), closedRequests(events, known));
    await appendFindings(client, clusterID, known.findings);
    await flagReusedAuditIDs(client, clusterID, known.reusedBefore);
    for (const batch of batches) await appendRejections(client, batch.sourceID, batch.rejections);
    await recordHealth(client, batches, results);
    await this.#advanceObjects(client, clusterID, batches, events, results);
    await client.query('commit');

    for (const { accepted } of events) this.#statistics.count(monthOf(accepted.requestReceivedTimestamp), 1);
    cache.bodies.markStored(bodies.stored.keys());
    cache.entries.confirm(dictionaries);
    changes.committed();
  }

  async #advanceObjects(
    client: ClientBase,
    clusterID: number,
    batches: Batch[],
    events: NewEvent[],
    results: Map<Batch, AppendResult>,
  ): Promise<void> {
    const parts = objectParts(batches, events);
    const held = await advanceObjects(client, clusterID, [...parts.values()]);
    for (const [batch, { part }] of parts) if (!held.has(part.id)) results.get(batch)!.leaseLost = true;
  }

  #cacheOf(clusterID: number): ClusterCache {
    let cache = this.#caches.get(clusterID);
    if (!cache) {
      cache = {
        ids: new DictionaryIDs(),
        entries: new KnownEntries(),
        bodies: new BodyCache(this.#bodyCacheBytes),
        bodiesEpoch: undefined,
      };
      this.#caches.set(clusterID, cache);
    }
    return cache;
  }
}

/** Drops a connection: whatever is asked through it fails at once. pg has no public way. */
function disconnect(client: ClientBase): void {
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
}

interface ClusterCache {
  ids: DictionaryIDs;
  entries: KnownEntries;
  bodies: BodyCache;
  bodiesEpoch: number | undefined;
}

/** The events that the store doesn't have, each with its number. */
function newEvents(
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

function pendingRecord({ batch, accepted }: NewEvent): PendingRecord {
  return {
    originID: batch.sourceID,
    at: accepted.requestReceivedTimestamp,
    digest: accepted.digest,
  };
}

/** What the batches of objects stored. A batch's events stand one after another, so their numbers are one range. */
function objectParts(batches: Batch[], events: NewEvent[]): Map<Batch, AdvancedPart> {
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

function isChangeClass(eventClass: EventClass): eventClass is ChangeClass {
  return (CHANGE_CLASSES as readonly string[]).includes(eventClass);
}

/** The writes to project: one per request, its terminal stage where that has been seen. */
function pendingWrites(events: NewEvent[], known: KnownEvents): PendingWrite[] {
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
function settleClasses(
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
function openedRequests(
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
function closedRequests(events: NewEvent[], known: KnownEvents): string[] {
  const closed = new Set<string>();
  for (const { accepted } of events) {
    if (accepted.class !== 'stage' && known.hasReceivedStage(accepted)) closed.add(accepted.requestID);
  }
  return [...closed];
}
