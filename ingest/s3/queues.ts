import type { Pool } from 'pg';
import type { Logger } from 'pino';
import type { S3Clients } from '../../store/s3-client.js';
import { recordQueue, type S3Source } from '../../store/s3-sources.js';
import { backoffSeconds } from './backoff.js';
import type { S3Metrics } from './metrics.js';
import { readQueue } from './queue.js';
import { ServiceTrouble } from './trouble.js';
import { Wakeable } from './wakeable.js';

const FIRST_RETRY_SECONDS = 2;
const MAX_RETRY_SECONDS = 300;

export interface QueuesParts {
  pool: Pool;
  clients: S3Clients;
  metrics: S3Metrics;
  log: Logger;
  signal: AbortSignal;
  /** Called when objects were found that are to be read. */
  found: () => void;
}

interface Followed {
  url: string;
  ended: AbortController;
  running: Promise<void>;
}

/** Reads the queues of those sources that have one, each in a loop of its own. SQS shares out messages to replicas. */
export class Queues {
  readonly #parts: QueuesParts;
  readonly #followed = new Map<number, Followed>();

  constructor(parts: QueuesParts) {
    this.#parts = parts;
  }

  /** Begins with the queues that are new, and lets those go that no source has any more. */
  follow(sources: S3Source[]): void {
    const wanted = new Map<number, S3Source & { queueURL: string }>();
    for (const source of sources)
      if (source.queueURL !== null) wanted.set(source.sourceID, { ...source, queueURL: source.queueURL });
    for (const [sourceID, { ended, url }] of this.#followed) {
      if (wanted.get(sourceID)?.queueURL === url) continue;
      ended.abort();
      this.#followed.delete(sourceID);
    }
    for (const [sourceID, source] of wanted) {
      if (this.#followed.has(sourceID)) continue;
      const ended = new AbortController();
      const signal = AbortSignal.any([this.#parts.signal, ended.signal]);
      this.#followed.set(sourceID, { url: source.queueURL, ended, running: this.#run(source, signal) });
    }
  }

  /** Resolves when all loops have ended, after the signal. */
  async stop(): Promise<void> {
    await Promise.all([...this.#followed.values()].map(({ running }) => running));
  }

  async #run(source: S3Source & { queueURL: string }, signal: AbortSignal): Promise<void> {
    const { pool, clients, metrics, log, found } = this.#parts;
    const wait = new Wakeable();
    signal.addEventListener('abort', () => wait.wake());
    for (let failures = 0; !signal.aborted; ) {
      try {
        const read = await readQueue(source, await clients.sqs(source), pool, signal);
        if (read.added > 0) found();
        await recordQueue(pool, source.sourceID, read.trouble);
        failures = 0;
        // What was left there would be received again at once where the queue hides nothing.
        if (read.trouble) await wait.sleep(FIRST_RETRY_SECONDS * 1000);
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        if (error instanceof ServiceTrouble) {
          const { trouble } = error;
          metrics.errors.inc({ source: source.name, code: trouble.code });
          log.warn({ source: source.name, ...trouble }, 'a queue could not be read; listings go on');
          await recordQueue(pool, source.sourceID, trouble).catch(() => undefined);
        } else log.warn({ err: error, source: source.name }, 'what a queue told could not be recorded');
        await wait.sleep(Math.min(MAX_RETRY_SECONDS, backoffSeconds(failures, FIRST_RETRY_SECONDS)) * 1000);
      }
    }
  }
}
