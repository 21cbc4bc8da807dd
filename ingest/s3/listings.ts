import type { Pool } from 'pg';
import type { Logger } from 'pino';
import type { S3Clients } from '../../store/s3-client.js';
import { type LeasedScan, leaseScan, releaseScan } from '../../store/s3-scans.js';
import type { S3Source } from '../../store/s3-sources.js';
import { backoffSeconds } from './backoff.js';
import { runPass } from './list.js';
import type { S3Metrics } from './metrics.js';
import type { S3Options } from './s3-ingest.js';
import { ServiceTrouble } from './trouble.js';
import { Wakeable } from './wakeable.js';

const IDLE_MS = 2000;
const FIRST_RETRY_SECONDS = 5;

export interface ListingsParts {
  pool: Pool;
  clients: S3Clients;
  metrics: S3Metrics;
  log: Logger;
  options: S3Options;
  owner: string;
  signal: AbortSignal;
  sources: () => S3Source[];
  /** Called when objects were found that are to be read. */
  found: () => void;
}

/** Goes on with the listings that are due, one at a time in this process. */
export class Listings {
  readonly #parts: ListingsParts;
  readonly #wake = new Wakeable();

  constructor(parts: ListingsParts) {
    this.#parts = parts;
  }

  wake(): void {
    this.#wake.wake();
  }

  /** Runs until the signal ends it. */
  async run(): Promise<void> {
    const { pool, owner, options, log, signal } = this.#parts;
    while (!signal.aborted) {
      try {
        const lease = { owner, seconds: options.leaseSeconds, fullSeconds: options.fullListSeconds };
        const scan = await leaseScan(pool, lease);
        if (scan) await this.#list(scan);
        else await this.#wake.sleep(IDLE_MS);
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ err: error }, 'cannot go on with a listing');
        await this.#wake.sleep(IDLE_MS);
      }
    }
  }

  async #list(scan: LeasedScan): Promise<void> {
    const { pool, clients, metrics, log, options, signal, found } = this.#parts;
    const source = this.#parts.sources().find((item) => item.sourceID === scan.sourceID);
    // Added a moment ago: it will be known at the next turn.
    if (!source) return releaseScan(pool, scan, IDLE_MS / 1000);
    const { listSeconds: intervalSeconds, listPageKeys: pageKeys, leaseSeconds } = options;
    try {
      const client = await clients.s3(source);
      await runPass(scan, source, client, pool, { intervalSeconds, leaseSeconds, pageKeys, signal, found });
    } catch (error) {
      if (signal.aborted) return releaseScan(pool, scan, 0);
      if (!(error instanceof ServiceTrouble)) throw error;
      const { trouble } = error;
      metrics.errors.inc({ source: source.name, code: trouble.code });
      log.warn({ source: source.name, ...trouble }, 'a listing failed; it goes on from where it was');
      await releaseScan(pool, scan, backoffSeconds(scan.attempts + 1, FIRST_RETRY_SECONDS), trouble);
    }
  }
}
