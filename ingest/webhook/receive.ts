import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { AcceptedEvent, Rejection } from '../../core/accept.js';
import { WhochangedError } from '../../core/errors.js';
import type { SourceCredentials } from '../../store/sources.js';
import type { Acceptances, BodyAcceptance, Taken } from '../acceptance/acceptance.js';
import type { Durability, DurableWriter } from '../durable-writer.js';
import type { InFlight } from '../in-flight.js';
import type { IngestMetrics } from '../metrics.js';

/** A body is made durable in parts of this size, so that a huge one needs little memory. */
const PART_BYTES = 2 * 1024 * 1024;
const PART_EVENTS = 2000;

export interface Receiver {
  writer: DurableWriter;
  inFlight: InFlight;
  acceptances: Acceptances;
  metrics: IngestMetrics;
  maxBodyBytes: number;
}

export interface Received {
  events: number;
  stored: number;
  duplicates: number;
  quarantined: number;
  /** Durable on disk, on its way to Postgres. */
  spooled: number;
}

/**
 * Reads one posted body to its end and makes every event in it durable. What can't be read is quarantined and costs
 * nothing else. Returns once all of it is durable.
 *
 * @throws WhochangedError `invalid_request` for a body that holds no event at all, `payload_too_large`, `overloaded`
 */
export async function receiveBody(
  body: Readable,
  encoding: string | undefined,
  source: SourceCredentials,
  receiver: Receiver,
): Promise<Received> {
  const reading = new BodyReading(source, receiver);
  try {
    for await (const chunk of decompressed(body, encoding)) await reading.take(chunk as Buffer);
    return await reading.finish();
  } catch (error) {
    await reading.abandon();
    throw isBrokenGzip(error) ? brokenGzip() : error;
  }
}

function isBrokenGzip(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && code.startsWith('Z_');
}

function brokenGzip(): WhochangedError {
  return new WhochangedError('invalid_request', 'the gzip body is damaged or cut off', {
    hint: 'send it again; what was read of it is stored, and will be recognised',
  });
}

function decompressed(body: Readable, encoding: string | undefined): Readable {
  if (encoding === undefined || encoding === '' || encoding === 'identity') return body;
  if (encoding !== 'gzip') {
    throw new WhochangedError(
      'unsupported_media_type',
      `Content-Encoding ${encoding.slice(0, 20)} is not supported`,
      { hint: 'send gzip or no encoding' },
    );
  }
  const gunzip = createGunzip();
  body.on('error', (error) => gunzip.destroy(error));
  gunzip.on('error', () => body.unpipe(gunzip));
  return body.pipe(gunzip);
}

/** One body on its way: the part that is being filled, and the parts that are becoming durable. */
class BodyReading {
  readonly #source: SourceCredentials;
  readonly #receiver: Receiver;
  readonly #acceptance: BodyAcceptance;
  readonly #receivedAt = Date.now() * 1000;
  readonly #pending: Array<Promise<Durability>> = [];
  readonly #result: Received = { events: 0, stored: 0, duplicates: 0, quarantined: 0, spooled: 0 };
  #accepted: AcceptedEvent[] = [];
  #rejections: Rejection[] = [];
  #partBytes = 0;
  #held = 0;
  #bytes = 0;

  constructor(source: SourceCredentials, receiver: Receiver) {
    this.#source = source;
    this.#receiver = receiver;
    this.#acceptance = receiver.acceptances.open();
  }

  async take(chunk: Buffer): Promise<void> {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#receiver.maxBodyBytes) {
      throw new WhochangedError(
        'payload_too_large',
        `the body is larger than ${this.#receiver.maxBodyBytes} bytes`,
        {
          hint: 'raise WHOCHANGED_INGEST_MAX_BODY_BYTES, or lower --audit-webhook-batch-max-size',
        },
      );
    }
    // Whoever waits for room must not sit on what could be durable already.
    if (!this.#receiver.inFlight.fits(chunk.length)) this.#submitPart();
    await this.#receiver.inFlight.acquire(chunk.length);
    this.#held += chunk.length;
    this.#add(await this.#acceptance.push(chunk));
    if (this.#partBytes >= PART_BYTES || this.#accepted.length >= PART_EVENTS) this.#submitPart();
    while (this.#pending.length > 2) await this.#settleOldest();
  }

  #add(taken: Taken): void {
    for (const accepted of taken.accepted) this.#accepted.push(accepted);
    this.#rejections.push(...taken.rejections);
    this.#partBytes += taken.bytes;
  }

  #submitPart(): void {
    const held = this.#held;
    this.#held = 0;
    this.#partBytes = 0;
    if (this.#accepted.length === 0 && this.#rejections.length === 0) {
      this.#receiver.inFlight.release(held);
      return;
    }
    this.#result.events += this.#accepted.length + this.#rejections.length;
    const submitted = this.#receiver.writer.submit({
      sourceID: this.#source.sourceID,
      clusterID: this.#source.clusterID,
      receivedAt: this.#receivedAt,
      accepted: this.#accepted,
      rejections: this.#rejections,
    });
    const events = this.#accepted.length;
    this.#accepted = [];
    this.#rejections = [];
    const pending = submitted
      .then((result) => {
        this.#count(result, events);
        return result;
      })
      .finally(() => this.#receiver.inFlight.release(held));
    // Awaited later: a failure meanwhile must not count as unhandled.
    pending.catch(() => undefined);
    this.#pending.push(pending);
  }

  #count(result: Durability, events: number): void {
    const name = this.#source.name;
    const { metrics } = this.#receiver;
    this.#result.stored += result.stored;
    this.#result.duplicates += result.duplicates;
    this.#result.quarantined += result.quarantined;
    if (result.spooled) this.#result.spooled += events;
    metrics.events.inc({ source: name, result: 'stored' }, result.stored);
    metrics.events.inc({ source: name, result: 'duplicate' }, result.duplicates);
    metrics.events.inc({ source: name, result: 'quarantined' }, result.quarantined);
    if (result.spooled) metrics.events.inc({ source: name, result: 'spooled' }, events);
  }

  async #settleOldest(): Promise<void> {
    await this.#pending.shift();
  }

  async finish(): Promise<Received> {
    const last = await this.#acceptance.end();
    this.#add(last);
    this.#submitPart();
    while (this.#pending.length > 0) await this.#settleOldest();
    this.#receiver.metrics.bytes.inc({ source: this.#source.name }, this.#bytes);
    if (last.empty) {
      throw new WhochangedError(
        'invalid_request',
        this.#bytes === 0 ? 'the body is empty' : 'the body holds no JSON object',
        {
          hint: 'POST an audit.k8s.io EventList, as kube-apiserver does with --audit-webhook-config-file',
        },
      );
    }
    return this.#result;
  }

  /** The body failed half way: what was submitted may still land (a retry finds it there), the rest is let go. */
  async abandon(): Promise<void> {
    this.#acceptance.abandon();
    await Promise.allSettled(this.#pending);
    this.#receiver.inFlight.release(this.#held);
    this.#held = 0;
  }
}
