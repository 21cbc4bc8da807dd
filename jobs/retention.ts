import type { ClientBase } from 'pg';
import {
  type DueClasses,
  dueClasses,
  formatRetention,
  type RetentionPolicy,
} from '../core/retention/policy.js';
import { formatMicros, parseMicros } from '../core/timestamp.js';
import { dropSegment } from '../store/archive/drop-segment.js';
import type { S3Archive } from '../store/archive/files.js';
import { findProgress, recordPolicy, recordProgress } from '../store/archive/progress.js';
import { ArchiveError } from '../store/archive/segment-files.js';
import { findSegments, recordSegmentError, removeSegment, type Segment } from '../store/archive/segments.js';
import { sweepBodies } from '../store/archive/sweep-bodies.js';
import { verifySegment, writeSegment } from '../store/archive/write-segment.js';
import { dropEmptyPartitions } from '../store/partitions.js';
import type { Job, JobContext } from './job.js';
import type { RetentionMetrics } from './retention-metrics.js';

const DAY_MICROS = 86_400_000_000;
/** What is older has a broken clock, and lies in the default partition (store/partitions.ts). */
const FIRST_DAY = '2015-01-01T00:00:00.000000Z';

export interface RetentionOptions {
  policy: RetentionPolicy;
  archive: S3Archive;
  metrics: RetentionMetrics;
  /** Events of one segment: they are in memory together. */
  segmentEvents?: number;
  /** Fewer wait until there are more, but no longer than `maxWaitDays` beyond their time. */
  minEvents?: number;
  maxWaitDays?: number;
}

/**
 * Takes what is older than its class is kept out of the database: written to the archive, read back, deleted. First what an
 * earlier run left on its way, and what was loaded for questions that are over.
 */
export function retentionJob(options: RetentionOptions): Job {
  return {
    name: 'retention',
    schedule: '0 17 * * * *',
    async runOnce(context) {
      const { client, now, signal } = context;
      const run = new RetentionRun(context, options);
      await recordPolicy(client, formatRetention(options.policy));
      await run.finishOpen();
      const clusters = await client.query<{ id: number; name: string }>(
        'select id, name from clusters order by id',
      );
      for (const due of dueClasses(options.policy, now().getTime() * 1000)) {
        for (const cluster of clusters.rows) if (!signal.aborted) await run.archiveDue(cluster, due);
      }
      const thisMonth = now().toISOString();
      const dropped = await dropEmptyPartitions(client, thisMonth);
      if (dropped.length > 0)
        context.log.info({ partitions: dropped }, 'partitions were dropped: all they held is archived');
      await run.measure();
      return { rows: run.finish() };
    },
  };
}

/** Deletes the bodies that only dropped rows referred to. Reads all rows once, so it runs once a day. */
export function sweepBodiesJob(): Job {
  return {
    name: 'sweep-bodies',
    schedule: '0 43 3 * * *',
    async runOnce({ client, signal }) {
      const { rows } = await client.query<{ cluster_id: number }>(
        'select distinct cluster_id from body_candidates',
      );
      let swept = 0;
      for (const { cluster_id } of rows)
        if (!signal.aborted) swept += await sweepBodies(client, cluster_id, signal);
      return { rows: swept };
    },
  };
}

/** One run: what fails with one segment doesn't keep those on their way from going on, and is told at the end. */
class RetentionRun {
  readonly #context: JobContext;
  readonly #options: RetentionOptions;
  readonly #errors: string[] = [];
  #rows = 0;

  constructor(context: JobContext, options: RetentionOptions) {
    this.#context = context;
    this.#options = options;
  }

  get #client(): ClientBase {
    return this.#context.client;
  }

  async finishOpen(): Promise<void> {
    const open = await findSegments(
      this.#client,
      `state in ('written', 'verified', 'dropping')
        or state in ('loading', 'loaded') and (asked_until is null or asked_until < now())`,
      [],
    );
    for (const segment of open) if (!this.#context.signal.aborted) await this.#drop(segment);
  }

  async archiveDue(cluster: { id: number; name: string }, due: DueClasses): Promise<void> {
    // Without a way on, more would fill the archive with what can't be dropped.
    if (this.#errors.length > 0) return;
    const { classes } = due;
    const until = formatMicros(due.until);
    const { segmentEvents = 50_000, minEvents = 5000, maxWaitDays = 31 } = this.#options;
    const reached = await findProgress(this.#client, cluster.id, classes);
    if (reached !== undefined && reached >= until) return;
    // What came late, or was in force when it was looked at, is looked at again on the first of each month.
    const again = reached === undefined || this.#context.now().getUTCDate() === 1;
    let since = again ? FIRST_DAY : reached;
    const enough = (events: ReadonlyArray<{ at?: unknown }>) =>
      events.length >= minEvents ||
      parseMicros(events[0]!.at as string)! < due.until - maxWaitDays * DAY_MICROS;
    while (!this.#context.signal.aborted) {
      const question = { classes, since, until, limit: segmentEvents };
      const result = await writeSegment(this.#client, this.#options.archive, cluster, question, enough);
      if (result.due > 0 && !result.written) return;
      if (!result.written) break;
      const [segment] = await findSegments(this.#client, 'key = $1', [result.written]);
      await this.#drop(segment!);
      if (this.#errors.length > 0) return;
      if (result.due < segmentEvents) break;
      since = result.until!;
    }
    if (!this.#context.signal.aborted) await recordProgress(this.#client, cluster.id, classes, until);
  }

  async #drop(segment: Segment): Promise<void> {
    const { archive, metrics } = this.#options;
    const { log, signal } = this.#context;
    try {
      if (segment.state === 'written') {
        await verifySegment(this.#client, archive, segment);
        metrics.archivedEvents.inc(segment.events);
        for (const { bytes } of Object.values(segment.files)) metrics.archivedBytes.inc(bytes);
      }
      const current = segment.state === 'written' ? { ...segment, state: 'verified' as const } : segment;
      const dropped = await dropSegment(this.#client, archive, current, signal);
      if (!dropped) return;
      this.#rows += dropped.events + dropped.changes;
      if (dropped.kept > 0)
        log.info({ segment: segment.key, kept: dropped.kept }, 'archived rows stay: they were altered since');
    } catch (error) {
      const { message } = error as Error;
      // Its rows are all here: written anew is sooner than waiting for a file to mend.
      if (segment.state === 'written' && error instanceof ArchiveError)
        await removeSegment(this.#client, segment.id);
      else await recordSegmentError(this.#client, segment.id, message);
      metrics.failures.inc();
      log.error({ err: error, segment: segment.key }, 'an archived segment could not be verified or dropped');
      this.#errors.push(`${segment.key}: ${message}`);
    }
  }

  async measure(): Promise<void> {
    const { rows } = await this.#client.query<{ state: string; count: number }>(
      'select state, count(*)::int as count from archive_segments group by state',
    );
    this.#options.metrics.segments.reset();
    for (const { state, count } of rows) this.#options.metrics.segments.set({ state }, count);
  }

  /** Rows that were dropped. @throws Error telling what failed */
  finish(): number {
    if (this.#errors.length > 0)
      throw new Error(
        `${this.#errors.length} segments could not go on: ${this.#errors.slice(0, 3).join('; ')}`,
      );
    return this.#rows;
  }
}
