import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { S3Clients } from '../../store/s3-client.js';
import { findS3Lags, findS3Sources, type S3Source } from '../../store/s3-sources.js';
import { type LeasedObject, leaseObjects, renewObject } from '../../store/source-objects.js';
import { LeaseLost, type ObjectReader } from '../object-reading.js';
import { backoffSeconds } from './backoff.js';
import { Listings } from './listings.js';
import type { S3Metrics } from './metrics.js';
import { Queues } from './queues.js';
import { type LeasedEnd, readLeased } from './read-leased.js';
import { Wakeable } from './wakeable.js';

export interface S3Options {
  /** Objects that this process reads at once. */
  concurrency: number;
  /** After so long without a sign of life, another replica takes an object or a listing over. */
  leaseSeconds: number;
  /** Between two passes of a listing. */
  listSeconds: number;
  /** Between two passes that look at all keys. */
  fullListSeconds: number;
  /** Keys in one answer of a listing: 1,000 at most, as S3 has it. */
  listPageKeys: number;
}

export interface S3Parts {
  pool: Pool;
  reader: ObjectReader;
  metrics: S3Metrics;
  log: Logger;
  options: S3Options;
}

const REFRESH_MS = 5000;
const IDLE_MS = 1000;
/** Idle replicas ask for each source; of many sources they ask more rarely. */
const IDLE_MS_PER_SOURCE = 50;
const STORE_AWAY_MS = 2000;
const MAX_COOL_SECONDS = 60;
/** Failures of an object alone, which say nothing of its neighbours. */
const OF_THE_OBJECT = new Set(['damaged', 'unknown_format', 'archived', 'kms']);

/**
 * Reads the s3 sources: lists them, takes their queues' messages, leases objects and reads them. Every replica does the
 * same; what belongs to whom is decided by leases in Postgres.
 */
export class S3Ingest {
  readonly #parts: S3Parts;
  readonly #clients = new S3Clients();
  readonly #stopped = new AbortController();
  readonly #owner = `${hostname()}/${process.pid}/${randomUUID().slice(0, 8)}`;
  readonly #wake = new Wakeable();
  readonly #running = new Set<Promise<void>>();
  /** Failures in a row of each source, and until when it is let alone. */
  readonly #cooling = new Map<number, { failures: number; until: number }>();
  readonly #listings: Listings;
  readonly #queues: Queues;
  #sources: S3Source[] = [];
  #loops: Array<Promise<void>> = [];

  constructor(parts: S3Parts) {
    this.#parts = parts;
    const shared = { ...parts, clients: this.#clients, signal: this.#stopped.signal, owner: this.#owner };
    const found = () => this.#wake.wake();
    this.#listings = new Listings({ ...shared, found, sources: () => this.#sources });
    this.#queues = new Queues({ ...shared, found });
  }

  /** Begins, once the schema is there. */
  start(): void {
    this.#loops = [this.#refreshLoop(), this.#readLoop(), this.#listings.run()];
  }

  /** Looks at once for what is new: a source, a backfill, a retry. */
  async poke(): Promise<void> {
    await this.#refresh();
    this.#listings.wake();
    this.#wake.wake();
  }

  async stop(): Promise<void> {
    this.#stopped.abort(new Error('whochanged is stopping'));
    this.#wake.wake();
    this.#listings.wake();
    await Promise.all([...this.#loops, this.#queues.stop()]);
    await Promise.all(this.#running);
    await this.#clients.stop();
  }

  get #isStopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  async #refreshLoop(): Promise<void> {
    const timer = new Wakeable();
    this.#stopped.signal.addEventListener('abort', () => timer.wake());
    while (!this.#isStopped) {
      await this.#refresh();
      await timer.sleep(REFRESH_MS);
    }
  }

  async #refresh(): Promise<void> {
    const { pool, metrics, log } = this.#parts;
    try {
      this.#sources = await findS3Sources(pool);
      if (this.#isStopped) return;
      this.#queues.follow(this.#sources);
      const lags = this.#sources.length > 0 ? await findS3Lags(pool) : new Map<number, number>();
      metrics.lagSeconds.reset();
      for (const { sourceID, name } of this.#sources)
        metrics.lagSeconds.set({ source: name }, lags.get(sourceID) ?? 0);
    } catch (error) {
      log.warn({ err: error }, 'cannot read the s3 sources: those known so far go on');
    }
  }

  async #readLoop(): Promise<void> {
    while (!this.#isStopped) {
      try {
        const leased = await this.#leaseRound();
        if (this.#running.size >= this.#parts.options.concurrency) await Promise.race(this.#running);
        else if (leased === 0)
          await this.#wake.sleep(Math.max(IDLE_MS, this.#sources.length * IDLE_MS_PER_SOURCE));
      } catch (error) {
        this.#parts.log.warn({ err: error }, 'cannot lease objects');
        await this.#wake.sleep(STORE_AWAY_MS);
      }
    }
  }

  /** Gives every source its turn for the readers that are free. Returns how many objects were leased. */
  async #leaseRound(): Promise<number> {
    const { pool, options } = this.#parts;
    let leasedInAll = 0;
    for (const source of [...this.#sources]) {
      const free = options.concurrency - this.#running.size;
      if (free <= 0 || this.#isStopped) break;
      if ((this.#cooling.get(source.sourceID)?.until ?? 0) > Date.now()) continue;
      const { sourceID, clusterID } = source;
      const lease = { owner: this.#owner, seconds: options.leaseSeconds, limit: free };
      for (const leased of await leaseObjects(pool, { sourceID, clusterID }, lease)) {
        leasedInAll++;
        const reading: Promise<void> = this.#read(leased, source).finally(() => {
          this.#running.delete(reading);
          this.#wake.wake();
        });
        this.#running.add(reading);
      }
    }
    // The next round begins with another.
    const first = this.#sources.shift();
    if (first) this.#sources.push(first);
    return leasedInAll;
  }

  async #read(leased: LeasedObject, source: S3Source): Promise<void> {
    const { pool, reader, metrics, log, options } = this.#parts;
    if (leased.expired) metrics.leaseExpiries.inc();
    const own = new AbortController();
    const renewal = setInterval(
      () => {
        renewObject(pool, leased, options.leaseSeconds).then(
          (held) => held || own.abort(new LeaseLost()),
          () => undefined,
        );
      },
      (options.leaseSeconds * 1000) / 3,
    );
    try {
      const client = await this.#clients.s3(source);
      const signal = AbortSignal.any([this.#stopped.signal, own.signal]);
      const { leaseSeconds } = options;
      this.#count(
        leased,
        source,
        await readLeased(leased, source, { pool, client, reader, leaseSeconds, signal }),
      );
    } catch (error) {
      log.warn({ err: error, source: source.name, object: leased.id }, 'cannot note how an object ended');
    } finally {
      clearInterval(renewal);
    }
  }

  #count(leased: LeasedObject, source: S3Source, end: LeasedEnd): void {
    const { metrics, log } = this.#parts;
    const { name } = source;
    metrics.bytes.inc({ source: name }, end.bytes);
    if (end.result !== 'lost' && end.result !== 'stopped')
      metrics.objects.inc({ source: name, result: end.result });
    if (end.trouble) {
      metrics.errors.inc({ source: name, code: end.trouble.code });
      log.warn(
        { source: name, object: leased.key, attempt: leased.attempt, ...end.trouble },
        'an object was not read whole',
      );
    }
    this.#cool(source, end);
  }

  /** What failed for a reason that its neighbours share is not tried with each of them. */
  #cool({ sourceID }: S3Source, { result, trouble }: LeasedEnd): void {
    if (result === 'done') this.#cooling.delete(sourceID);
    if (!trouble || OF_THE_OBJECT.has(trouble.code)) return;
    const failures = (this.#cooling.get(sourceID)?.failures ?? 0) + 1;
    const seconds = Math.min(MAX_COOL_SECONDS, backoffSeconds(failures, 0.5));
    this.#cooling.set(sourceID, { failures, until: Date.now() + seconds * 1000 });
  }
}
