import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { type Refusals, recordUptimes, type Uptime } from '../store/completeness/uptimes.js';

const BEAT_MS = 10_000;
/** A process whose clock has jumped by so much was asleep, or had no time to receive anything. */
const ASLEEP_MS = 30_000;

/**
 * Tells when this process was there to receive, and which batches it refused, so that others can tell when nobody was. While
 * Postgres is away it is kept in memory, and the times also in a file, for the next start to tell.
 */
export class Heartbeat {
  readonly #pool: Pool;
  readonly #path: string;
  readonly #log: Logger;
  readonly #process = randomUUID();
  /** What has not been told yet; the last one goes on. */
  #uptimes: Uptime[] = [];
  #refusals = new Map<number, Refusals>();
  #timer: NodeJS.Timeout | undefined;
  #beating: Promise<void> | undefined;

  constructor(pool: Pool, path: string, log: Logger) {
    this.#pool = pool;
    this.#path = path;
    this.#log = log;
  }

  async start(): Promise<void> {
    try {
      this.#uptimes = JSON.parse(await readFile(this.#path, 'utf8')) as Uptime[];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#log.warn(
          { err: error },
          'the file of uptimes is unreadable: the last run may be taken for shorter than it was',
        );
    }
    const now = Date.now() * 1000;
    this.#uptimes.push({ process: this.#process, since: now, until: now });
    void this.#beat();
    this.#timer = setInterval(() => void this.#beat(), BEAT_MS).unref();
  }

  /** A batch of a source was answered by an error. */
  refused(sourceID: number, code: string): void {
    const now = Date.now() * 1000;
    const known = this.#refusals.get(sourceID);
    if (known) Object.assign(known, { until: now, batches: known.batches + 1, code });
    else this.#refusals.set(sourceID, { sourceID, since: now, until: now, batches: 1, code });
  }

  #beat(): Promise<void> {
    this.#beating ??= this.#tell().finally(() => {
      this.#beating = undefined;
    });
    return this.#beating;
  }

  async #tell(): Promise<void> {
    const now = Date.now() * 1000;
    const current = this.#uptimes.at(-1)!;
    if (now - current.until > ASLEEP_MS * 1000)
      this.#uptimes.push({ process: this.#process, since: now, until: now });
    else current.until = Math.max(current.until, now);
    const uptimes = this.#uptimes.map((span) => ({ ...span }));
    const refusals = this.#refusals;
    this.#refusals = new Map();
    try {
      await this.#keep(uptimes);
      await recordUptimes(this.#pool, uptimes, [...refusals.values()]);
      // What grows is told again; what is over has been told.
      this.#uptimes = this.#uptimes.slice(-1);
    } catch (error) {
      this.#takeBack(refusals);
      this.#log.debug({ err: error }, 'the heartbeat waits for Postgres');
    }
  }

  #takeBack(refusals: ReadonlyMap<number, Refusals>): void {
    for (const [sourceID, old] of refusals) {
      const newer = this.#refusals.get(sourceID);
      this.#refusals.set(
        sourceID,
        newer ? { ...newer, since: old.since, batches: old.batches + newer.batches } : old,
      );
    }
  }

  async #keep(uptimes: Uptime[]): Promise<void> {
    await writeFile(`${this.#path}.new`, JSON.stringify(uptimes), { mode: 0o600 });
    await rename(`${this.#path}.new`, this.#path);
  }

  /** Tells a last time, for as long as Postgres answers at once. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    const last = (this.#beating ?? Promise.resolve()).then(() => this.#beat());
    const moment = new Promise<void>((resolve) => setTimeout(resolve, 2000).unref());
    await Promise.race([last, moment]);
  }
}
