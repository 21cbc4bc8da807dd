import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { WhochangedError } from '../../core/errors.js';
import type { SourceCredentials } from '../../store/sources.js';
import type { Acceptances, BodyAcceptance } from '../acceptance/acceptance.js';
import type { DurableWriter } from '../durable-writer.js';
import { GatheredPieces } from '../gathered-pieces.js';
import type { InFlight } from '../in-flight.js';
import { countEvents, type IngestMetrics } from '../metrics.js';
import { type Part, Parts } from '../parts.js';

export interface Receiver {
  writer: DurableWriter;
  inFlight: InFlight;
  acceptances: Acceptances;
  metrics: IngestMetrics;
  /** Told of each batch that was answered by an error. */
  onRefused(sourceID: number, code: string): void;
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

/** One body on its way. */
class BodyReading {
  readonly #source: SourceCredentials;
  readonly #receiver: Receiver;
  readonly #acceptance: BodyAcceptance;
  readonly #parts: Parts;
  readonly #receivedAt = Date.now() * 1000;
  readonly #result: Received = { events: 0, stored: 0, duplicates: 0, quarantined: 0, spooled: 0 };
  readonly #gathered = new GatheredPieces();
  #bytes = 0;

  constructor(source: SourceCredentials, receiver: Receiver) {
    this.#source = source;
    this.#receiver = receiver;
    this.#acceptance = receiver.acceptances.open();
    this.#parts = new Parts(receiver.inFlight, (part) => this.#makeDurable(part));
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
    if (!this.#receiver.inFlight.fits(chunk.length)) await this.#passOn();
    await this.#parts.hold(chunk.length);
    if (this.#gathered.add(chunk)) await this.#passOn();
  }

  async #passOn(): Promise<void> {
    const piece = this.#gathered.take();
    if (piece) await this.#parts.add(await this.#acceptance.push(piece));
  }

  async #makeDurable({ accepted, rejections }: Part): Promise<void> {
    const events = accepted.length;
    this.#result.events += events + rejections.length;
    const durability = await this.#receiver.writer.submit({
      sourceID: this.#source.sourceID,
      clusterID: this.#source.clusterID,
      receivedAt: this.#receivedAt,
      accepted,
      rejections,
    });
    const { metrics } = this.#receiver;
    countEvents(metrics, this.#source.name, durability);
    this.#result.stored += durability.stored;
    this.#result.duplicates += durability.duplicates;
    this.#result.quarantined += durability.quarantined;
    if (!durability.spooled) return;
    this.#result.spooled += events;
    metrics.events.inc({ source: this.#source.name, result: 'spooled' }, events);
  }

  async finish(): Promise<Received> {
    await this.#passOn();
    const last = await this.#acceptance.end();
    await this.#parts.add(last);
    this.#parts.submit();
    await this.#parts.settle();
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

  async abandon(): Promise<void> {
    this.#acceptance.abandon();
    await this.#parts.abandon();
  }
}
