import type { Pool } from 'pg';
import { leafHash } from '../../core/log/leaf.js';
import { parseMicros } from '../../core/timestamp.js';
import type { ArchiveReader } from '../archive/files.js';
import { ArchiveError, eventRowOf, SegmentReader } from '../archive/segment-files.js';
import { findSegments, type Segment } from '../archive/segments.js';
import { storedDigest } from '../queries/events.js';
import { type Damage, leafReader, type Run, readRuns } from './verify-records.js';

const WORD_BITS = 65_536;

/** A set of places of the log: a bit for each, since there may be hundreds of millions. */
class Places {
  readonly #chunks = new Map<number, Uint8Array>();
  size = 0;

  add(index: number): void {
    const chunk = Math.floor(index / WORD_BITS);
    let bits = this.#chunks.get(chunk);
    if (!bits) {
      bits = new Uint8Array(WORD_BITS / 8);
      this.#chunks.set(chunk, bits);
    }
    const at = index % WORD_BITS;
    bits[at >> 3]! |= 1 << (at & 7);
    this.size++;
  }

  /** Takes it out; says whether it was in. */
  take(index: number): boolean {
    const bits = this.#chunks.get(Math.floor(index / WORD_BITS));
    const at = index % WORD_BITS;
    if (!bits || (bits[at >> 3]! & (1 << (at & 7))) === 0) return false;
    bits[at >> 3]! &= ~(1 << (at & 7));
    this.size--;
    return true;
  }
}

/**
 * Events of one cluster that have places in the log and no rows. Those that segments of the archive may hold are looked
 * for there: what the archive holds and the log proves was moved, and everything else was removed.
 */
export class ArchivedEvents {
  /** Events of the archive that were compared with their leaves. */
  checked = 0;
  /** Places that only an archive could tell of, and none was named. */
  unchecked = 0;
  readonly #pool: Pool;
  readonly #cluster: { id: number; name: string };
  readonly #archive: ArchiveReader | undefined;
  readonly #missing = new Places();

  constructor(pool: Pool, cluster: { id: number; name: string }, archive: ArchiveReader | undefined) {
    this.#pool = pool;
    this.#cluster = cluster;
    this.#archive = archive;
  }

  /** Takes a place without a row, to be looked for in the archive. */
  claim({ kind, index }: Damage): boolean {
    if (kind !== 'removed' || index === undefined) return false;
    this.#missing.add(index);
    return true;
  }

  /** Looks the claimed places up in the archive. Yields what is wrong. */
  async *verify(): AsyncGenerator<Damage> {
    if (this.#missing.size === 0) return;
    // Asked only now: a segment is recorded before any of its rows is dropped.
    const segments = await findSegments(this.#pool, 'cluster_id = $1', [this.#cluster.id]);
    segments.sort((a, b) => a.seqFrom - b.seqFrom);
    const client = await this.#pool.connect();
    try {
      const runs = await readRuns(client, 'event', this.#cluster.id);
      if (!this.#archive) {
        this.#leaveUnchecked(segments, runs);
        yield* this.#removed(runs);
        return;
      }
      const hashAt = leafReader(client);
      for (const segment of segments) {
        try {
          yield* this.#verifySegment(segment, runs, hashAt);
        } catch (error) {
          if (error instanceof ArchiveError)
            yield this.#damage('archive_damaged', segment.seqFrom, undefined, error.message);
          else
            yield this.#damage(
              'archive_damaged',
              segment.seqFrom,
              undefined,
              `${segment.key} can't be read: ${(error as Error).message}`,
            );
        }
      }
      yield* this.#removed(runs);
    } finally {
      client.release();
    }
  }

  async *#verifySegment(
    segment: Segment,
    runs: readonly Run[],
    hashAt: (index: number) => Promise<Buffer | undefined>,
  ): AsyncGenerator<Damage> {
    for await (const rows of new SegmentReader(this.#archive!, segment).events()) {
      for (const row of rows) {
        const seq = Number(row.seq);
        const index = placeOf(runs, seq);
        // What still is in the database was compared there.
        if (index === undefined || !this.#missing.take(index)) continue;
        this.checked++;
        const digest = row.digest as Buffer;
        const leaf = {
          type: 'event' as const,
          cluster: this.#cluster.name,
          origin: row.source as string,
          seq,
          at: parseMicros(row.at as string)!,
          digest,
        };
        const stored = await hashAt(index);
        if (!stored?.equals(leafHash(leaf)) || !storedDigest(eventRowOf(row)).equals(digest))
          yield this.#damage('altered', seq, index, `the archive ${segment.key} holds another event there`);
      }
    }
  }

  /** Only the archive could tell which of these it holds. */
  #leaveUnchecked(segments: readonly Segment[], runs: readonly Run[]): void {
    for (const { seqFrom, seqTo } of segments) {
      for (const { firstIndex, firstSeq, count } of runs) {
        if (firstSeq >= seqTo) break;
        for (let seq = Math.max(firstSeq, seqFrom); seq < Math.min(firstSeq + count, seqTo); seq++)
          if (this.#missing.take(firstIndex + seq - firstSeq)) this.unchecked++;
      }
    }
  }

  /** What neither the table nor the archive has. */
  *#removed(runs: readonly Run[]): Generator<Damage> {
    for (const { firstIndex, firstSeq, count } of runs) {
      if (this.#missing.size === 0) return;
      for (let i = 0; i < count; i++) {
        if (this.#missing.take(firstIndex + i))
          yield this.#damage(
            'removed',
            firstSeq + i,
            firstIndex + i,
            'the log has it, neither the table nor the archive has',
          );
      }
    }
  }

  #damage(kind: Damage['kind'], seq: number, index: number | undefined, detail: string): Damage {
    return { kind, type: 'event', cluster: this.#cluster.name, seq, index, detail };
  }
}

/** The place of a number; runs are in the order of numbers. */
function placeOf(runs: readonly Run[], seq: number): number | undefined {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (runs[middle]!.firstSeq <= seq) low = middle + 1;
    else high = middle;
  }
  const run = runs[low - 1];
  return run && seq < run.firstSeq + run.count ? run.firstIndex + seq - run.firstSeq : undefined;
}
