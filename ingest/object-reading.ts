import { setTimeout as pause } from 'node:timers/promises';
import type { Rejection } from '../core/accept.js';
import { sha256 } from '../core/canonical.js';
import { WhochangedError } from '../core/errors.js';
import type { ObjectPart, ObjectProgress, Trouble } from '../store/source-objects.js';
import type { Acceptances, BodyAcceptance, Taken } from './acceptance/acceptance.js';
import { decompress } from './decompress.js';
import type { DurableWriter } from './durable-writer.js';
import type { Format } from './formats/format.js';
import { GatheredPieces } from './gathered-pieces.js';
import type { InFlight } from './in-flight.js';
import { countEvents, type IngestMetrics } from './metrics.js';
import { type Part, Parts } from './parts.js';
import { type Damage, isDamage } from './piece-reader.js';

/** What is taken of a piece at once: posts that come meanwhile get their turn in between. */
const CHUNK_BYTES = 64 * 1024;
const MAX_PAUSE_MS = 5000;
/** Damage beyond so many places of one object is counted and not kept one by one. */
const MAX_KEPT_DAMAGES = 100;

export interface ObjectReader {
  writer: DurableWriter;
  inFlight: InFlight;
  acceptances: Acceptances;
  metrics: IngestMetrics;
}

/** An object that is being read, under a lease. */
export interface ReadObject {
  source: { sourceID: number; clusterID: number; name: string };
  id: string;
  leaseToken: string;
  leaseSeconds: number;
  /** `s3://bucket/key`, or a file's name: for what is said of it. */
  label: string;
  format: Format | 'auto';
  /** From 1 on. */
  attempt: number;
}

/** Somebody else may be reading the object by now. */
export class LeaseLost extends Error {
  constructor() {
    super('the lease of the object was lost');
    this.name = 'LeaseLost';
  }
}

export interface ObjectRead extends ObjectProgress {
  /** Events that were new. */
  stored: number;
  duplicates: number;
  /** What of it can't be read. It is in quarantine, and the rest is stored. */
  trouble: Trouble | undefined;
}

/** How a reading that came to the object's end is noted, given what was wrong with it; undefined: later, by the caller. */
export type EndOf = (trouble: Trouble | undefined) => ObjectPart['end'];

/**
 * Reads one object to its end and makes every event in it durable: in parts, each in one transaction with the object's
 * row. Broken off anywhere, it is read again from its beginning, and what is there already is recognised. While Postgres
 * is away it waits.
 *
 * @throws LeaseLost, what the input throws, and `signal`'s reason
 */
export async function readObject(
  object: ReadObject,
  input: AsyncIterable<Buffer>,
  options: { reader: ObjectReader; position: () => number; signal: AbortSignal; end: EndOf },
): Promise<ObjectRead> {
  const reading = new Reading(object, options);
  try {
    return await reading.read(input);
  } catch (error) {
    await reading.abandon();
    throw error;
  }
}

class Reading {
  readonly #object: ReadObject;
  readonly #reader: ObjectReader;
  readonly #position: () => number;
  readonly #signal: AbortSignal;
  readonly #endOf: EndOf;
  readonly #parts: Parts;
  readonly #receivedAt = Date.now() * 1000;
  readonly #gathered = new GatheredPieces();
  readonly #damages: string[] = [];
  readonly #totals = { events: 0, quarantined: 0, skipped: 0, salvaged: 0 };
  #stored = 0;
  #damaged = 0;
  #unknown: Trouble | undefined;
  #format: Format | 'auto';
  #acceptance: BodyAcceptance;
  #end: ObjectPart['end'];

  constructor(
    object: ReadObject,
    options: { reader: ObjectReader; position: () => number; signal: AbortSignal; end: EndOf },
  ) {
    this.#object = object;
    this.#reader = options.reader;
    this.#position = options.position;
    this.#signal = options.signal;
    this.#endOf = options.end;
    this.#format = object.format;
    this.#acceptance = options.reader.acceptances.open(this.#format);
    this.#parts = new Parts(options.reader.inFlight, (part) => this.#makeDurable(part));
  }

  async read(input: AsyncIterable<Buffer>): Promise<ObjectRead> {
    try {
      for await (const piece of decompress(input, this.#object.attempt > 1)) {
        this.#signal.throwIfAborted();
        if (isDamage(piece)) await this.#passOver(piece);
        else await this.#take(piece);
      }
      await this.#endAcceptance();
    } catch (error) {
      this.#noteUnknown(error);
    }
    const trouble = this.#trouble();
    await this.#parts.settle();
    this.#end = this.#endOf(trouble);
    await this.#parts.finish();
    const { events } = this.#totals;
    return { ...this.#progress(), stored: this.#stored, duplicates: events - this.#stored, trouble };
  }

  async #take(piece: Buffer): Promise<void> {
    for (let at = 0; at < piece.length; at += CHUNK_BYTES) {
      const chunk = piece.subarray(at, at + CHUNK_BYTES);
      // Whoever waits for room must not sit on what could be durable already.
      if (!this.#reader.inFlight.fits(chunk.length)) await this.#passOn();
      await this.#parts.hold(chunk.length);
      if (this.#gathered.add(chunk)) await this.#passOn();
    }
  }

  async #passOn(): Promise<void> {
    const piece = this.#gathered.take();
    if (piece) await this.#add(await this.#acceptance.push(piece));
  }

  async #add(taken: Taken): Promise<void> {
    this.#totals.events += taken.accepted.length;
    this.#totals.quarantined += taken.rejections.length;
    const { skipped, salvaged } = this.#reader.metrics;
    const source = this.#object.source.name;
    for (const [reason, count] of Object.entries(taken.skipped ?? {})) {
      this.#totals.skipped += count;
      skipped.inc({ source, reason }, count);
    }
    this.#totals.salvaged += taken.salvaged ?? 0;
    if (taken.salvaged) salvaged.inc({ source }, taken.salvaged);
    await this.#parts.add(taken);
  }

  async #endAcceptance(): Promise<void> {
    await this.#passOn();
    const last = await this.#acceptance.end();
    await this.#add(last);
    this.#format = last.format ?? this.#format;
  }

  /** That it is of no known format is no reason to read it again soon. */
  #noteUnknown(error: unknown): void {
    if (!(error instanceof WhochangedError) || error.code !== 'invalid_request') throw error;
    this.#unknown = {
      code: 'unknown_format',
      message: error.message,
      ...(error.hint && { hint: error.hint }),
    };
    this.#reject('unknown_format', error.message);
  }

  /** What comes behind a gap is no continuation of what came before it. */
  async #passOver({ damage }: Damage): Promise<void> {
    await this.#endAcceptance().catch((error) => this.#noteUnknown(error));
    this.#damaged++;
    if (this.#damages.length < MAX_KEPT_DAMAGES) {
      this.#damages.push(damage);
      this.#reject('damaged_object', `${damage}; what is before it and behind the gap was kept`);
    }
    this.#acceptance = this.#reader.acceptances.open(this.#format);
  }

  /** Quarantines a place of the object. Its bytes stay where they are: the object. */
  #reject(reason: string, detail: string): void {
    const sample = `${this.#object.label}: ${detail}`;
    const rejection: Rejection = { reason, detail, sample, digest: sha256(sample), replayable: false };
    this.#totals.quarantined++;
    this.#parts.reject(rejection);
  }

  #trouble(): Trouble | undefined {
    if (this.#unknown || this.#damaged === 0) return this.#unknown;
    const places = this.#damaged === 1 ? '' : `; ${this.#damaged} places in all`;
    return {
      code: 'damaged',
      message: `the object is damaged: ${this.#damages[0]}${places}`,
      hint: 'what could be read is stored; upload it again whole, or look at `whochanged quarantine list`',
    };
  }

  #progress(): ObjectProgress {
    return { position: this.#position(), ...this.#totals };
  }

  async #makeDurable({ accepted, rejections }: Part): Promise<void> {
    const { source, id, leaseToken, leaseSeconds } = this.#object;
    const batch = {
      sourceID: source.sourceID,
      clusterID: source.clusterID,
      receivedAt: this.#receivedAt,
      accepted,
      rejections,
      object: {
        id,
        leaseToken,
        leaseSeconds,
        progress: this.#progress(),
        ...(this.#end && { end: this.#end }),
      },
    };
    const result = await this.#submit(batch);
    countEvents(this.#reader.metrics, source.name, result);
    this.#stored += result.stored;
    // Events that Postgres refused are in quarantine as well.
    const refused = result.quarantined - rejections.length;
    this.#totals.events -= refused;
    this.#totals.quarantined += refused;
    if (result.leaseLost) throw new LeaseLost();
  }

  async #submit(batch: Parameters<DurableWriter['submit']>[0]): ReturnType<DurableWriter['submit']> {
    for (let waitMs = 100; ; waitMs = Math.min(waitMs * 2, MAX_PAUSE_MS)) {
      this.#signal.throwIfAborted();
      try {
        return await this.#reader.writer.submit(batch);
      } catch (error) {
        const away = error instanceof WhochangedError && error.code === 'store_unavailable';
        if (!away) throw error;
        await pause(waitMs, undefined, { signal: this.#signal });
      }
    }
  }

  async abandon(): Promise<void> {
    this.#acceptance.abandon();
    await this.#parts.abandon();
  }
}
