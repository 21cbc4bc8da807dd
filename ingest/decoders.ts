import { createGunzip, type Gunzip } from 'node:zlib';
import { Decompress } from 'fzstd';

export type Packing = 'gzip' | 'zstd';

/** What is given to zlib at once: it may become a thousand times as much, in memory. */
const GZIP_SLICE = 16 * 1024;
/** The same for zstd, whose smallest block of 4 bytes may become 128 KiB. */
const ZSTD_SLICE = 1024;

const GZIP_MAGIC = Buffer.from([0x1f, 0x8b, 0x08]);
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
export const MAGIC_BYTES = 4;

/** What bytes begin as. Fewer than MAGIC_BYTES tell nothing. */
export function packingOf(head: Buffer): Packing | undefined {
  if (startsGzip(head)) return 'gzip';
  return head.subarray(0, 4).equals(ZSTD_MAGIC) ? 'zstd' : undefined;
}

function startsGzip(head: Buffer): boolean {
  // Of the flags, the upper three bits are reserved and zero.
  return head.length >= 4 && head.subarray(0, 3).equals(GZIP_MAGIC) && (head[3]! & 0xe0) === 0;
}

/** Where a member or frame may begin, at a place or behind it; below zero if nowhere. It may be none after all. */
export function nextStart(bytes: Buffer, packing: Packing, from = 0): number {
  for (
    let at = bytes.indexOf(magicOf(packing), from);
    at >= 0;
    at = bytes.indexOf(magicOf(packing), at + 1)
  ) {
    const head = bytes.subarray(at, at + MAGIC_BYTES);
    if (head.length < MAGIC_BYTES) return -1;
    if (packingOf(head) === packing) return at;
  }
  return -1;
}

function magicOf(packing: Packing): Buffer {
  return packing === 'gzip' ? GZIP_MAGIC : ZSTD_MAGIC;
}

/** Decompresses data of one format, which may stand in any number of members or frames one after another. */
export interface Decoder {
  readonly sliceBytes: number;
  /** What a slice became, and how many of its bytes were taken when it isn't all of them. */
  push(slice: Buffer): Promise<Decoded>;
  end(): Promise<Decoded>;
  close(): void;
}

export interface Decoded {
  output: Buffer[];
  /** What is wrong with the data, which the decoder can't go on with. */
  failure?: string;
  /** Bytes of the slice that came before what is wrong, or behind the last member. */
  taken?: number;
}

/** @param outputBytes zlib's pieces: of the one in which it fails nothing is given */
export function openDecoder(packing: Packing, outputBytes: number): Decoder {
  return packing === 'gzip' ? new GzipDecoder(outputBytes) : new ZstdDecoder();
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
