import { createGunzip, type Gunzip } from 'node:zlib';
import { Decompress } from 'fzstd';

/** A place where data could not be decompressed. What follows begins anew. */
export interface Damage {
  /** What is wrong, and where. */
  damage: string;
}

/** Decompressed bytes, or a gap between them. */
export type Piece = Buffer | Damage;

/** Firehose puts the gzip that CloudWatch Logs made into a gzip of its own. */
const MAX_LAYERS = 4;
/** What is given to zlib at once: it may become a thousand times as much, in memory. */
const GZIP_SLICE = 16 * 1024;
/** The same for zstd, whose smallest block of 4 bytes may become 128 KiB. */
const ZSTD_SLICE = 1024;
/** zlib gives its output in pieces of this size; of the one in which it fails nothing is given. */
const OUTPUT_BYTES = 64 * 1024;
const CAREFUL_OUTPUT_BYTES = 1024;

const GZIP_MAGIC = Buffer.from([0x1f, 0x8b, 0x08]);
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const MAGIC_BYTES = 4;

export function isDamage(piece: Piece): piece is Damage {
  return 'damage' in piece;
}

/**
 * Decompresses by what the bytes are, whatever the name says: gzip (RFC 1952; several members, and gzip within gzip),
 * zstd (RFC 8878; several frames), anything else as it is. Damaged data is passed over up to the next member or frame.
 * In memory there is one slice and what it becomes.
 * @param careful loses less before a damaged place, and takes longer
 */
export async function* decompress(input: AsyncIterable<Buffer>, careful: boolean): AsyncGenerator<Piece> {
  yield* decodeLayer(input, careful ? CAREFUL_OUTPUT_BYTES : OUTPUT_BYTES, 0);
}

async function* decodeLayer(
  input: AsyncIterable<Piece>,
  outputBytes: number,
  layer: number,
): AsyncGenerator<Piece> {
  const reader = new PieceReader(input);
  try {
    const format = layer < MAX_LAYERS ? formatOf(await reader.peek(MAGIC_BYTES)) : 'plain';
    if (format === 'plain') {
      for (let piece = await reader.next(); piece !== undefined; piece = await reader.next()) yield piece;
      return;
    }
    const open = () => (format === 'gzip' ? new GzipDecoder(outputBytes) : new ZstdDecoder());
    yield* decodeLayer(decoded(reader, format, open), outputBytes, layer + 1);
  } finally {
    await reader.close();
  }
}

function formatOf(head: Buffer): 'gzip' | 'zstd' | 'plain' {
  if (startsGzip(head)) return 'gzip';
  return head.subarray(0, 4).equals(ZSTD_MAGIC) ? 'zstd' : 'plain';
}

function startsGzip(head: Buffer): boolean {
  // Of the flags, the upper three bits are reserved and zero.
  return head.length >= 4 && head.subarray(0, 3).equals(GZIP_MAGIC) && (head[3]! & 0xe0) === 0;
}

/** Decompresses data of one format, which may stand in any number of members or frames one after another. */
interface Decoder {
  readonly sliceBytes: number;
  /** What a slice became, and how many of its bytes were taken when it isn't all of them. */
  push(slice: Buffer): Promise<Decoded>;
  end(): Promise<Decoded>;
  close(): void;
}

interface Decoded {
  output: Buffer[];
  /** What is wrong with the data, which the decoder can't go on with. */
  failure?: string;
  /** Bytes of the slice that came before what is wrong, or behind the last member. */
  taken?: number;
}

async function* decoded(
  reader: PieceReader,
  format: 'gzip' | 'zstd',
  open: () => Decoder,
): AsyncGenerator<Piece> {
  for (let searching = false; !searching || (yield* findStart(reader, format)); searching = true) {
    const decoder = open();
    const start = reader.position;
    let given = 0;
    let failure: string | undefined;
    try {
      for (;;) {
        const piece = await reader.next(decoder.sliceBytes);
        if (piece !== undefined && isDamage(piece)) {
          yield piece;
          break;
        }
        const at = reader.position - (piece?.length ?? 0);
        const result = piece === undefined ? await decoder.end() : await decoder.push(piece);
        for (const buffer of result.output) {
          given += buffer.length;
          yield buffer;
        }
        failure = result.failure;
        if (piece === undefined && failure === undefined) return;
        if (piece !== undefined && result.taken === undefined) continue;
        // On by one byte at least, or the same place would be found again.
        if (piece !== undefined) reader.unread(piece.subarray(Math.max(at + result.taken!, start + 1) - at));
        break;
      }
    } finally {
      decoder.close();
    }
    // A place that was found in damaged data, and is none after all, is not worth a word.
    if (failure !== undefined && (!searching || given > 0))
      yield { damage: `${format}: ${failure}, near byte ${reader.position}` };
  }
}

/** Passes over bytes up to where a member or frame begins. */
async function* findStart(reader: PieceReader, format: 'gzip' | 'zstd'): AsyncGenerator<Damage, boolean> {
  const magic = format === 'gzip' ? GZIP_MAGIC : ZSTD_MAGIC;
  for (;;) {
    const head = await reader.peek(MAGIC_BYTES);
    if (head.length < MAGIC_BYTES) {
      // The end, or a gap in what this is decoded from: behind a gap the search goes on.
      const piece = await reader.next();
      if (piece === undefined) return false;
      if (isDamage(piece)) yield piece;
      continue;
    }
    const at = head.indexOf(magic);
    if (at === 0 && (format === 'zstd' || startsGzip(head))) return true;
    await reader.next(at < 0 ? head.length - magic.length + 1 : Math.max(at, 1));
  }
}

/** node's gunzip reads all members by itself; this gives it slices, and tells what it made of each. */
class GzipDecoder implements Decoder {
  readonly sliceBytes = GZIP_SLICE;
  readonly #gunzip: Gunzip;
  #output: Buffer[] = [];
  #failure: string | undefined;
  #ended = false;
  #settled: () => void = () => undefined;
  #written = 0;

  constructor(outputBytes: number) {
    this.#gunzip = createGunzip({ chunkSize: outputBytes });
    this.#gunzip.on('data', (chunk: Buffer) => this.#output.push(chunk));
    this.#gunzip.on('end', () => {
      this.#ended = true;
      this.#settled();
    });
    this.#gunzip.on('error', (error) => {
      this.#fail(error);
      this.#settled();
    });
  }

  #fail(error: NodeJS.ErrnoException): void {
    this.#failure ??= error.code === 'Z_BUF_ERROR' ? 'it is cut off' : error.message;
  }

  async push(slice: Buffer): Promise<Decoded> {
    await new Promise<void>((resolve) => {
      this.#settled = resolve;
      this.#gunzip.write(slice, (error) => {
        if (error) this.#fail(error);
        resolve();
      });
    });
    const before = this.#written;
    this.#written += slice.length;
    const output = this.#take();
    if (this.#failure === undefined && !this.#ended) return { output };
    const taken = Math.min(slice.length, Math.max(0, this.#gunzip.bytesWritten - before));
    return { output, taken, ...(this.#failure !== undefined && { failure: this.#failure }) };
  }

  async end(): Promise<Decoded> {
    if (!this.#ended && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#settled = resolve;
        this.#gunzip.end();
      });
    }
    return { output: this.#take(), ...(this.#failure !== undefined && { failure: this.#failure }) };
  }

  close(): void {
    this.#gunzip.destroy();
  }

  #take(): Buffer[] {
    const output = this.#output;
    this.#output = [];
    return output;
  }
}

/** fzstd checks no checksums: what is damaged shows when it is decoded, here or as JSON. */
class ZstdDecoder implements Decoder {
  readonly sliceBytes = ZSTD_SLICE;
  #output: Buffer[] = [];
  readonly #stream = new Decompress((data) => {
    // A copy: what it gives lies in the window that it goes on with.
    if (data.length > 0) this.#output.push(Buffer.from(data));
  });

  async push(slice: Buffer): Promise<Decoded> {
    return this.#run(slice, false);
  }

  async end(): Promise<Decoded> {
    return this.#run(new Uint8Array(0), true);
  }

  close(): void {
    // Nothing is held outside of the heap.
  }

  #run(slice: Uint8Array, final: boolean): Decoded {
    let failure: string | undefined;
    try {
      this.#stream.push(slice, final);
    } catch (error) {
      failure = final ? 'it is cut off' : (error as Error).message;
    }
    const output = this.#output;
    this.#output = [];
    return { output, ...(failure !== undefined && { failure, taken: 0 }) };
  }
}

/** Reads pieces of at most a size, and lets the beginning be looked at. */
class PieceReader {
  readonly #source: AsyncIterator<Piece>;
  #held: Buffer = Buffer.alloc(0);
  #gap: Damage | undefined;
  #ended = false;
  /** Bytes handed over. */
  position = 0;

  constructor(input: AsyncIterable<Piece>) {
    this.#source = input[Symbol.asyncIterator]();
  }

  async next(most = Number.POSITIVE_INFINITY): Promise<Piece | undefined> {
    if (this.#held.length === 0 && !this.#gap) await this.#fill();
    if (this.#held.length > 0) {
      const piece = this.#held.subarray(0, most);
      this.#held = this.#held.subarray(piece.length);
      this.position += piece.length;
      return piece;
    }
    const gap = this.#gap;
    this.#gap = undefined;
    return gap;
  }

  /** The next bytes, fewer only before a gap and at the end. */
  async peek(bytes: number): Promise<Buffer> {
    while (this.#held.length < bytes && !this.#gap && !this.#ended) await this.#fill();
    return this.#held;
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  /** Puts back the end of what `next` gave. */
  unread(bytes: Buffer): void {
    this.position -= bytes.length;
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([bytes, this.#held]);
  }

  async #fill(): Promise<void> {
    if (this.#ended) return;
    const { value, done } = await this.#source.next();
    if (done) this.#ended = true;
    else if (isDamage(value)) this.#gap = value;
    else this.#held = this.#held.length === 0 ? value : Buffer.concat([this.#held, value]);
  }
}
