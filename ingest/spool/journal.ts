import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { WhochangedError } from '../../core/errors.js';

const HEADER_BYTES = 8;
/** A segment is closed at this size, so that drained ones can be deleted; it is read back whole. */
const SEGMENT_BYTES = 8 * 1024 * 1024;

interface Segment {
  path: string;
  number: number;
  bytes: number;
  /** Of them, those of records that were written whole. */
  whole: number;
}

interface Waiting {
  record: Buffer;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/**
 * An append-only journal on disk: what has been acknowledged while Postgres was away. Records are framed by length
 * and CRC-32; `append` resolves after fsync. A record that a crash cut short was never acknowledged and is passed
 * over when read. Concurrent appends share one fsync. One process owns a folder.
 */
export class Journal {
  readonly #dir: string;
  readonly #maxBytes: number;
  #segments: Segment[] = [];
  #file: FileHandle | undefined;
  #waiting: Waiting[] = [];
  #flushing = false;

  private constructor(dir: string, maxBytes: number) {
    this.#dir = dir;
    this.#maxBytes = maxBytes;
  }

  static async open(dir: string, options: { maxBytes: number }): Promise<Journal> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const journal = new Journal(dir, options.maxBytes);
    for (const name of (await readdir(dir)).sort()) {
      const match = /^(\d{12})\.spool$/.exec(name);
      if (!match) continue;
      const path = join(dir, name);
      const { size } = await stat(path);
      journal.#segments.push({ path, number: Number(match[1]), bytes: size, whole: size });
    }
    return journal;
  }

  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  get isEmpty(): boolean {
    return this.#segments.length === 0 && this.#waiting.length === 0 && !this.#flushing;
  }

  /** @throws WhochangedError `overloaded` when the journal is full */
  append(record: Buffer): Promise<void> {
    const queued = this.#waiting.reduce((sum, item) => sum + item.record.length + HEADER_BYTES, 0);
    if (this.bytes + queued + record.length + HEADER_BYTES > this.#maxBytes) {
      return Promise.reject(
        new WhochangedError(
          'overloaded',
          `the spool is full (${this.#maxBytes} bytes) and Postgres is away`,
          {
            hint: 'bring Postgres back, or give the spool more room with WHOCHANGED_SPOOL_MAX_BYTES',
            retryAfter: 10,
          },
        ),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ record, resolve, reject });
      if (!this.#flushing) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    this.#flushing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(batch.map((item) => item.record));
        for (const item of batch) item.resolve();
      } catch (error) {
        await this.#takeBack();
        const failure = isFull(error) ? diskFull(error) : error;
        for (const item of batch) item.reject(failure);
      }
    }
    this.#flushing = false;
  }

  async #write(records: Buffer[]): Promise<void> {
    const frames = records.flatMap((record) => {
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeUInt32BE(record.length, 0);
      header.writeUInt32BE(crc32(record), 4);
      return [header, record];
    });
    const file = this.#file ?? (await this.#openSegment());
    const segment = this.#segments.at(-1)!;
    const data = Buffer.concat(frames);
    let written = 0;
    while (written < data.length) {
      const { bytesWritten } = await file.write(data, written);
      written += bytesWritten;
      segment.bytes += bytesWritten;
    }
    await file.datasync();
    segment.whole = segment.bytes;
    if (segment.bytes >= SEGMENT_BYTES) await this.#closeSegment();
  }

  /**
   * After a write that failed: cuts off what it left of its records, so that a full disk isn't filled with pieces of them.
   * Later records go to a fresh segment, and stay readable where even that fails.
   */
  async #takeBack(): Promise<void> {
    const file = this.#file;
    const segment = this.#segments.at(-1);
    if (!file || !segment) return;
    try {
      await file.truncate(segment.whole);
      segment.bytes = segment.whole;
      if (segment.whole > 0) return;
      await unlink(segment.path);
      this.#segments.pop();
    } catch {
      // It stays as it is: what is whole in it can be read.
    } finally {
      await this.#closeSegment();
    }
  }

  async #openSegment(): Promise<FileHandle> {
    const number = (this.#segments.at(-1)?.number ?? 0) + 1;
    const path = join(this.#dir, `${String(number).padStart(12, '0')}.spool`);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_APPEND;
    const file = await open(path, flags, 0o600);
    this.#file = file;
    this.#segments.push({ path, number, bytes: 0, whole: 0 });
    // The file's name must survive a power cut as well as its content.
    const dir = await open(this.#dir, constants.O_RDONLY);
    try {
      await dir.sync();
    } finally {
      await dir.close();
    }
    return file;
  }

  async #closeSegment(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /**
   * Hands over the oldest segment's records, in order, and deletes the segment when `consume` has resolved. Returns
   * false when there is nothing. If `consume` fails, or the process dies, the same records come again.
   */
  async drainSegment(consume: (records: Buffer[]) => Promise<void>): Promise<boolean> {
    // A write under way may be making the first segment. To say "nothing" at once would have the caller ask again and
    // again in the same turn of the event loop, and the file would never open.
    while (this.#flushing && this.#segments.length === 0)
      await new Promise((resolve) => setImmediate(resolve));
    const segment = this.#segments[0];
    if (!segment) return false;
    if (this.#segments.length === 1 && this.#file) {
      // Later records go to a new segment; this one is complete once running writes are through.
      while (this.#flushing) await new Promise((resolve) => setImmediate(resolve));
      await this.#closeSegment();
      // Its only write failed, and was taken back.
      if (this.#segments[0] !== segment) return true;
    }
    const { records, rest } = readFrames(await readFile(segment.path));
    if (records.length > 0) await consume(records);
    // Mostly the unacknowledged record of a crash, but a disk's damage would look the same: keep it for inspection.
    if (rest > 0) await rename(segment.path, `${segment.path}.torn`);
    else await unlink(segment.path);
    this.#segments.shift();
    return true;
  }

  async close(): Promise<void> {
    while (this.#flushing) await new Promise((resolve) => setImmediate(resolve));
    await this.#closeSegment();
  }
}

/** The whole records at the head of a segment, and how many bytes behind them are not one. */
function readFrames(data: Buffer): { records: Buffer[]; rest: number } {
  const records: Buffer[] = [];
  let at = 0;
  while (at + HEADER_BYTES <= data.length) {
    const length = data.readUInt32BE(at);
    const record = data.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
    if (record.length < length || crc32(record) !== data.readUInt32BE(at + 4)) break;
    records.push(record);
    at += HEADER_BYTES + length;
  }
  return { records, rest: data.length - at };
}

function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');
}

function diskFull(cause: unknown): WhochangedError {
  return new WhochangedError('overloaded', "the spool's disk is full and Postgres is away", {
    hint: 'bring Postgres back, or give the disk of WHOCHANGED_SPOOL_DIR more room',
    retryAfter: 10,
    cause,
  });
}
