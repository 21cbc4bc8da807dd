import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Pool } from 'pg';
import { WhochangedError } from '../core/errors.js';
import type { ImportedFile } from '../store/imports.js';
import { releaseObject, renewObject } from '../store/source-objects.js';
import type { Format } from './formats/format.js';
import { LeaseLost, type ObjectRead, type ObjectReader, readObject } from './object-reading.js';
import { parquetLines, startsParquet } from './parquet-lines.js';

/** Parquet is read from its end, and what is sent has no end before it is over: such a file is held in memory as a whole. */
const MAX_PARQUET_BYTES = 64 * 1024 * 1024;

export interface FileToImport {
  file: ImportedFile;
  /** Of the source. */
  source: string;
  /** As the sender calls it. */
  name: string;
  format: Format | 'auto';
  /** SHA-256 in hex that the bytes must have; undefined for a stream that nobody knew beforehand. */
  sha256: string | undefined;
}

/**
 * Imports one file as it comes in, under the lease that `beginImport` gave. Broken off anywhere, it is sent again from
 * its beginning, and what is stored already is recognised. One of no known format may be sent again, with its format named.
 *
 * @throws WhochangedError `invalid_request` when it broke off or isn't what was announced; `conflict` when it took so
 *   long that another request took over
 */
export async function importFile(
  { file, source, name, format, sha256 }: FileToImport,
  input: Readable,
  parts: { pool: Pool; reader: ObjectReader; leaseSeconds: number; signal: AbortSignal },
): Promise<ObjectRead> {
  const { pool, reader, leaseSeconds } = parts;
  const own = new AbortController();
  const renewal = setInterval(
    () => {
      renewObject(pool, file, leaseSeconds).then(
        (held) => held || own.abort(new LeaseLost()),
        () => undefined,
      );
    },
    (leaseSeconds * 1000) / 3,
  );
  const received = new ReceivedFile(input);
  const whole = () => sha256 === undefined || received.sha256() === sha256;
  const closed = () => own.abort(brokenOff(name));
  // A sender that goes away while Postgres is away would be waited for.
  input.once('error', closed);
  try {
    const read = await readObject(
      {
        source: { ...file, name: source },
        id: file.id,
        leaseToken: file.leaseToken,
        leaseSeconds,
        label: name,
        format,
        attempt: file.attempt,
      },
      contentsOf(received),
      {
        reader,
        position: () => received.bytes,
        signal: AbortSignal.any([parts.signal, own.signal]),
        // What is of no known format was not received to its end.
        end: (trouble) =>
          trouble?.code !== UNKNOWN && whole() ? { state: trouble ? 'damaged' : 'done', trouble } : undefined,
      },
    );
    // Who is still sending hears nothing before all is sent.
    await received.passOverRest();
    if (!whole()) throw notAsAnnounced(name);
    const { trouble } = read;
    if (trouble?.code === UNKNOWN)
      await releaseObject(pool, file, { state: 'failed', retrySeconds: 0, trouble });
    return read;
  } catch (error) {
    const trouble = { code: 'broken_off', message: `${name} broke off after ${received.bytes} bytes` };
    await releaseObject(pool, file, { state: 'failed', retrySeconds: 0, trouble }).catch(() => undefined);
    if (error instanceof WhochangedError) throw error;
    if (error instanceof LeaseLost || own.signal.reason instanceof LeaseLost)
      throw new WhochangedError('conflict', `${name} is being imported by another request`);
    if (input.errored) throw brokenOff(name);
    throw error;
  } finally {
    clearInterval(renewal);
    input.off('error', closed);
  }
}

const UNKNOWN = 'unknown_format';

function notAsAnnounced(name: string): WhochangedError {
  return new WhochangedError(
    'invalid_request',
    `${name}: what came is not what was announced by its SHA-256`,
    { hint: 'import it again; it may have been written to meanwhile' },
  );
}

/** The bytes as they come; of a Parquet file its rows, once it is there. */
async function* contentsOf(received: ReceivedFile): AsyncGenerator<Buffer> {
  let parquet: Buffer | undefined;
  for await (const chunk of received) {
    if (received.bytes === chunk.length && startsParquet(chunk)) parquet = chunk;
    if (parquet) break;
    yield chunk;
  }
  if (parquet) yield* rowsOf(received, parquet);
}

/** Parquet files that are sent at once take turns, so that one is in memory. */
let turn: Promise<void> = Promise.resolve();

async function* rowsOf(received: ReceivedFile, begun: Buffer): AsyncGenerator<Buffer> {
  const before = turn;
  let pass: () => void = () => undefined;
  turn = new Promise((resolve) => {
    pass = resolve;
  });
  try {
    await before;
    const pieces = [begun];
    for await (const chunk of received) {
      if (received.bytes > MAX_PARQUET_BYTES) throw tooLarge();
      pieces.push(chunk);
    }
    const file = Buffer.concat(pieces.splice(0));
    yield* parquetLines(file.length, async (from, to) => file.subarray(from, to));
  } finally {
    pass();
  }
}

function tooLarge(): WhochangedError {
  return new WhochangedError(
    'invalid_request',
    `the file is Parquet of more than ${MAX_PARQUET_BYTES / 1024 / 1024} MiB, which is held in memory where it is imported`,
    { hint: 'put it into a bucket, where Parquet of any size is read, or export it as JSON' },
  );
}

function brokenOff(name: string): WhochangedError {
  return new WhochangedError('invalid_request', `${name} broke off`, { hint: 'import it again' });
}

/** The bytes that come in, counted and digested on their way. */
class ReceivedFile {
  readonly #input: Readable;
  readonly #hash = createHash('sha256');
  #digest: string | undefined;
  bytes = 0;

  constructor(input: Readable) {
    this.#input = input;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    // Where reading ends early, an answer still has to go back the way that this comes.
    for await (const chunk of this.#input.iterator({ destroyOnReturn: false })) {
      this.bytes += (chunk as Buffer).length;
      this.#hash.update(chunk as Buffer);
      yield chunk as Buffer;
    }
  }

  /** Counts and digests what nobody wants to read. */
  async passOverRest(): Promise<void> {
    for await (const _ of this);
  }

  /** Of what has come; after it, nothing more may come. */
  sha256(): string {
    this.#digest ??= this.#hash.digest('hex');
    return this.#digest;
  }
}
