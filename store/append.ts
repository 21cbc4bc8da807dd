import type { Socket } from 'node:net';
import type { ClientBase, Pool } from 'pg';
import { ParsedValues } from '../core/parsed-values.js';
import { BatchBodies, BodyCache } from './body-cache.js';
import { appendChanges } from './changes-writer.js';
import { beginNumbered } from './cluster-lock.js';
import { CopyRows, copyRows } from './copy.js';
import { Dictionaries, DictionaryIDs } from './dictionaries.js';
import { appendDictionaries, KnownEntries } from './dictionaries-writer.js';
import { EVENT_COLUMNS, writeEventRow } from './event-row.js';
import { findKnownEvents } from './known-events.js';
import { appendPending } from './log/pending.js';
import {
  type AppendResult,
  type Batch,
  closedRequests,
  isChangeClass,
  type NewEvent,
  newEvents,
  objectParts,
  openedRequests,
  pendingRecord,
  pendingWrites,
  settleClasses,
} from './new-events.js';
import { ensurePartitions, monthOf } from './partitions.js';
import {
  appendFindings,
  appendOpenRequests,
  appendRejections,
  flagReusedAuditIDs,
  recordHealth,
} from './side-rows.js';
import { advanceObjects } from './source-objects.js';
import { FirstStatistics } from './statistics.js';

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
  /** Of all clusters, as are the ids: they depend on nothing but what they are of. */
  readonly #parsedBodies: ParsedValues;
  readonly #ids = new DictionaryIDs();

  constructor(pool: Pool, options: { bodyCacheBytes: number }) {
    this.#pool = pool;
    this.#parsedBodies = new ParsedValues(options.bodyCacheBytes);
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
      cache.bodies = new BodyCache(this.#parsedBodies);
      cache.bodiesEpoch = bodiesEpoch;
    }
    const known = await findKnownEvents(
      client,
      clusterID,
      batches.flatMap((batch) => batch.accepted),
    );
    const events = newEvents(batches, known, firstSeq, results);

    const dictionaries = new Dictionaries(this.#ids);
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
    await copyRows(client, 'event_rows', EVENT_COLUMNS, rows);
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
        entries: new KnownEntries(),
        bodies: new BodyCache(this.#parsedBodies),
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
  entries: KnownEntries;
  bodies: BodyCache;
  bodiesEpoch: number | undefined;
}
