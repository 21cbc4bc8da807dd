import type { Logger } from 'pino';
import { type AcceptedEvent, type Redaction, rejectText } from '../core/accept.js';
import { canonicalJson } from '../core/canonical.js';
import { WhochangedError } from '../core/errors.js';
import type { Ledger } from '../store/append.js';
import type { AppendResult, Batch } from '../store/new-events.js';
import type { IngestMetrics } from './metrics.js';
import type { Journal } from './spool/journal.js';
import { decodeBatch, encodeBatch } from './spool/record.js';
import { storeFailure } from './store-errors.js';

/**
 * Of what is posted, one transaction takes this much: many small posts share a commit, and two full ones (400 events, the
 * apiserver's --audit-webhook-batch-max-size) don't wait for each other. In larger groups all who post waited at the same time,
 * and the threads that read had nothing to do meanwhile: four senders got a sixth less through.
 */
const MAX_POSTED_EVENTS = 500;
/** Nobody waits for what is read from objects, or from the spool. */
const MAX_COMMIT_EVENTS = 4000;
/** Fewer from the spool, since new events take memory meanwhile. */
const MAX_DRAIN_EVENTS = 1500;
const MAX_COMMIT_BYTES = 8 * 1024 * 1024;
/**
 * A transaction that takes longer counts as Postgres being away, even if it should succeed after all: the apiserver gives
 * up after 30 s, and what is then in the spool as well will be recognised.
 */
const STORE_TIMEOUT_MS = 12_000;
/** Who drains the spool keeps nobody waiting, and must get through however slow Postgres is. */
const DRAIN_TIMEOUT_MS = 300_000;
const RETRIES = 5;
const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5000;
/** Of objects, one transaction takes at least this much, whoever else waits: they are slowed down, and not stopped. */
const MIN_OBJECT_BATCHES = 1;
const NO_ROOM = { events: 0, bytes: 0 };

export type Durability = AppendResult & { spooled: boolean };

interface Waiting {
  batch: Batch;
  resolve: (result: Durability) => void;
  reject: (error: unknown) => void;
}

/**
 * Makes batches durable: in Postgres, or in the spool while Postgres is away. Posts that wait at the same time share
 * one transaction (group commit). While the spool holds anything, new batches queue behind it, so that they reach
 * Postgres in the order they came; the spool drains by itself, also after a restart.
 */
export class DurableWriter {
  readonly #ledger: Ledger;
  readonly #journal: Journal;
  readonly #redaction: Redaction;
  readonly #metrics: IngestMetrics;
  readonly #log: Logger;
  readonly #committed: () => void;
  #waiting: Waiting[] = [];
  /** What was read from objects, which can be read again: it waits behind what apiservers post. */
  #objects: Waiting[] = [];
  #running = false;
  #draining = false;
  #stopped = false;

  constructor(parts: {
    ledger: Ledger;
    journal: Journal;
    redaction: Redaction;
    metrics: IngestMetrics;
    log: Logger;
    onCommit: () => void;
  }) {
    this.#ledger = parts.ledger;
    this.#journal = parts.journal;
    this.#redaction = parts.redaction;
    this.#metrics = parts.metrics;
    this.#log = parts.log;
    this.#committed = parts.onCommit;
    this.#metrics.spoolBytes.set(this.#journal.bytes);
    if (!this.#journal.isEmpty) void this.#drain();
  }

  /**
   * Resolves once the batch is durable. A batch of an object is never spooled, since the object keeps it.
   * @throws WhochangedError `overloaded` when neither Postgres nor the spool can take it; `store_unavailable` for a
   *   batch of an object while Postgres is away or the spool is not yet empty: to be submitted again
   */
  submit(batch: Batch): Promise<Durability> {
    if (!this.#journal.isEmpty) return batch.object ? Promise.reject(storeAway()) : this.#spool(batch);
    return new Promise((resolve, reject) => {
      (batch.object ? this.#objects : this.#waiting).push({ batch, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Posts that arrived in the same turn of the event loop go into the first transaction together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0 || this.#objects.length > 0) {
      const group = this.#takeGroup();
      try {
        const results = await this.#append(
          group.map((item) => item.batch),
          STORE_TIMEOUT_MS,
        );
        for (const [i, item] of group.entries()) item.resolve({ ...results[i]!, spooled: false });
      } catch (error) {
        this.#metrics.storeUp.set(0);
        this.#log.warn(
          { err: error, spoolBytes: this.#journal.bytes },
          'Postgres is away: events go to the spool',
        );
        const all = [...group, ...this.#waiting.splice(0), ...this.#objects.splice(0)];
        await Promise.all(
          all.map((item) =>
            item.batch.object
              ? item.reject(storeAway(error))
              : this.#spool(item.batch).then(item.resolve, item.reject),
          ),
        );
      }
    }
    this.#running = false;
  }

  /** What goes into the next transaction: what was posted, with one batch of objects; or, where nobody waits, as many as fit. */
  #takeGroup(): Waiting[] {
    const posted = takeWithin(this.#waiting, { events: MAX_POSTED_EVENTS, bytes: MAX_COMMIT_BYTES }, 1);
    const room = posted.length > 0 ? NO_ROOM : { events: MAX_COMMIT_EVENTS, bytes: MAX_COMMIT_BYTES };
    return [...posted, ...takeWithin(this.#objects, room, MIN_OBJECT_BATCHES)];
  }

  /** Appends, retrying lost races and isolating events that Postgres refuses. Fails only when Postgres is away. */
  async #append(batches: Batch[], timeoutMs: number, attempt = 0): Promise<AppendResult[]> {
    const started = performance.now();
    try {
      const results = await this.#ledger.append(batches, timeoutMs);
      this.#metrics.commitSeconds.observe((performance.now() - started) / 1000);
      this.#metrics.commitEvents.observe(
        results.reduce((sum, result) => sum + result.stored + result.duplicates, 0),
      );
      this.#metrics.storeUp.set(1);
      this.#committed();
      return results;
    } catch (error) {
      const failure = storeFailure(error);
      if (failure === 'unavailable') throw error;
      if (failure === 'retry' && attempt < RETRIES) return this.#append(batches, timeoutMs, attempt + 1);
      return this.#isolate(batches, timeoutMs, error);
    }
  }

  async #isolate(batches: Batch[], timeoutMs: number, error: unknown): Promise<AppendResult[]> {
    if (batches.length > 1) {
      const results: AppendResult[] = [];
      for (const batch of batches) results.push(...(await this.#append([batch], timeoutMs)));
      return results;
    }
    const batch = batches[0]!;
    if (batch.accepted.length > 1) {
      const half = Math.ceil(batch.accepted.length / 2);
      const [first] = await this.#append([firstHalf(batch, half)], timeoutMs);
      const [second] = await this.#append(
        [{ ...batch, accepted: batch.accepted.slice(half), rejections: [] }],
        timeoutMs,
      );
      return [
        {
          stored: first!.stored + second!.stored,
          duplicates: first!.duplicates + second!.duplicates,
          quarantined: first!.quarantined + second!.quarantined,
          ...(second!.leaseLost && { leaseLost: true }),
        },
      ];
    }
    const poison = batch.accepted[0];
    if (!poison) throw error;
    this.#log.error({ err: error, auditID: poison.event.auditID }, 'Postgres refused an event: quarantined');
    return this.#append(
      [{ ...batch, accepted: [], rejections: [...batch.rejections, this.#rejectionOf(poison, error)] }],
      timeoutMs,
    );
  }

  #rejectionOf(accepted: AcceptedEvent, error: unknown) {
    const { event } = accepted;
    const code = (error as { code?: string }).code ?? 'internal';
    const rejection = rejectText(
      'store_refused',
      `Postgres refused the event (SQLSTATE ${code})`,
      '',
      this.#redaction,
    );
    const sample = canonicalJson({
      ...event,
      requestReceivedTimestamp: event.requestReceivedTimestamp / 1e6,
      stageTimestamp: event.stageTimestamp / 1e6,
    });
    return { ...rejection, sample, replayable: true };
  }

  async #spool(batch: Batch): Promise<Durability> {
    if (this.#stopped) throw new WhochangedError('overloaded', 'shutting down', { retryAfter: 1 });
    await this.#journal.append(encodeBatch(batch));
    this.#metrics.spoolBytes.set(this.#journal.bytes);
    if (!this.#draining) void this.#drain();
    return { stored: 0, duplicates: 0, quarantined: batch.rejections.length, spooled: true };
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    let backoff = MIN_BACKOFF_MS;
    while (!this.#stopped && !this.#journal.isEmpty) {
      try {
        await this.#journal.drainSegment((records) => this.#appendRecords(records));
        backoff = MIN_BACKOFF_MS;
      } catch (error) {
        this.#metrics.storeUp.set(0);
        this.#log.warn({ err: error, retryInMs: backoff }, 'the spool waits for Postgres');
        await new Promise((resolve) => setTimeout(resolve, backoff).unref());
        backoff = Math.min(backoff * 2, MAX_BACKOFF_MS);
      }
      this.#metrics.spoolBytes.set(this.#journal.bytes);
    }
    this.#draining = false;
  }

  async #appendRecords(records: Buffer[]): Promise<void> {
    let group: Batch[] = [];
    let events = 0;
    for (const record of records) {
      const batch = decodeBatch(record, this.#redaction);
      group.push(batch);
      events += batch.accepted.length;
      if (events < MAX_DRAIN_EVENTS) continue;
      await this.#append(group, DRAIN_TIMEOUT_MS);
      group = [];
      events = 0;
    }
    if (group.length > 0) await this.#append(group, DRAIN_TIMEOUT_MS);
  }

  /** Waits for what was submitted; what is in the spool stays there for the next start. */
  async stop(): Promise<void> {
    while (this.#running) await new Promise((resolve) => setTimeout(resolve, 10));
    this.#stopped = true;
    await this.#journal.close();
  }
}

/** Takes batches from a queue's head while they find room, `least` of them in any case. */
function takeWithin(queue: Waiting[], most: { events: number; bytes: number }, least: number): Waiting[] {
  const room = { ...most };
  let count = 0;
  for (const { batch } of queue) {
    room.events -= batch.accepted.length;
    for (const { size } of batch.accepted) room.bytes -= size;
    if (count >= least && (room.events < 0 || room.bytes < 0)) break;
    count++;
  }
  return queue.splice(0, count);
}

/** An object's end belongs to the last transaction alone. */
function firstHalf(batch: Batch, half: number): Batch {
  const { object, ...rest } = batch;
  const first: Batch = { ...rest, accepted: batch.accepted.slice(0, half) };
  if (!object) return first;
  const { end: _end, ...part } = object;
  return { ...first, object: part };
}

function storeAway(cause?: unknown): WhochangedError {
  return new WhochangedError('store_unavailable', 'Postgres is away, or the spool is being caught up with', {
    retryAfter: 5,
    cause,
  });
}
