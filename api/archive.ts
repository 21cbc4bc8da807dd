import type { FastifyBaseLogger } from 'fastify';
import type { Pool } from 'pg';
import { WhochangedError } from '../core/errors.js';
import type { S3Archive } from '../store/archive/files.js';
import { loadSegment } from '../store/archive/load-segment.js';
import { askForSegments, findSegments, isElsewhere, type Segment } from '../store/archive/segments.js';

/** The archive, for questions that reach into it. */
export interface ApiArchive {
  reader: S3Archive;
  /** Events that a question may have loaded at once. */
  loadMaxEvents: number;
  /** How long they stay after the last question. */
  loadedSeconds: number;
}

/** A question waits so long for the archive; then it is told to come again, and loading goes on. */
const WAIT_MS = 15_000;
const POLL_MS = 200;
const RETRY_SECONDS = 2;

/** Puts archived events back for questions, one segment after the other, whoever asks. */
export class ArchiveLoader {
  readonly #pool: Pool;
  readonly #archive: ApiArchive;
  readonly #log: FastifyBaseLogger;
  readonly #waiting = new Map<string, Segment>();
  readonly #failed = new Map<string, string>();
  #loading: Promise<void> | undefined;

  constructor(pool: Pool, archive: ApiArchive, log: FastifyBaseLogger) {
    this.#pool = pool;
    this.#archive = archive;
    this.#log = log;
  }

  /**
   * Resolves once every row of these segments is in the database, where they then stay for a while. Says whether any had to
   * be read from the archive, now or for another question.
   * @throws WhochangedError `invalid_request` where it is too much, `archive_loading` where it takes longer, and
   *   `archive_unavailable` where it can't be read
   */
  async load(segments: readonly Segment[]): Promise<boolean> {
    if (segments.length === 0) return false;
    const ids = segments.map(({ id }) => id);
    await askForSegments(this.#pool, ids, this.#archive.loadedSeconds);
    const until = Date.now() + WAIT_MS;
    for (;;) {
      const found = await findSegments(this.#pool, 'id = any($1::bigint[])', [ids]);
      const open = found.filter(isElsewhere);
      if (open.length === 0) return found.some(({ state }) => state === 'loaded');
      this.#refuseTooMuch(open);
      for (const { id } of open) {
        const reason = this.#failed.get(id);
        this.#failed.delete(id);
        if (reason !== undefined)
          throw new WhochangedError('archive_unavailable', 'the archive can\u2019t be read', {
            hint: 'an operator finds the reason in the log; ask about a later time meanwhile',
            retryAfter: 60,
          });
      }
      if (Date.now() >= until)
        throw new WhochangedError(
          'archive_loading',
          `this is being read from the archive: ${open.length} of ${found.length} segments are still to come`,
          { hint: 'ask again: it goes on meanwhile', retryAfter: RETRY_SECONDS },
        );
      for (const segment of open) this.#waiting.set(segment.id, segment);
      this.#loading ??= this.#work();
      await Promise.race([this.#loading, new Promise((done) => setTimeout(done, POLL_MS))]);
    }
  }

  #refuseTooMuch(open: readonly Segment[]): void {
    const events = open.reduce((sum, segment) => sum + segment.events, 0);
    const { loadMaxEvents } = this.#archive;
    if (events > loadMaxEvents)
      throw new WhochangedError(
        'invalid_request',
        `since and until: this reaches ${events} archived events, and a question may have ${loadMaxEvents} read from the archive`,
        { hint: 'ask about a shorter time, or raise WHOCHANGED_ARCHIVE_LOAD_MAX_EVENTS' },
      );
  }

  async #work(): Promise<void> {
    try {
      for (const [id, segment] of this.#waiting) {
        this.#waiting.delete(id);
        const client = await this.#pool.connect();
        try {
          await loadSegment(client, this.#archive.reader, segment);
          client.release();
        } catch (error) {
          client.release(true);
          this.#failed.set(id, (error as Error).message);
          this.#log.error(
            { err: error, segment: segment.key },
            'a segment of the archive could not be loaded',
          );
        }
      }
    } finally {
      this.#loading = undefined;
    }
  }
}
