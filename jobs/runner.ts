import { randomUUID } from 'node:crypto';
import { type Logger as CronLogger, createTask, type ScheduledTask } from 'node-cron';
import type { Pool, PoolClient } from 'pg';
import type { Registry } from 'prom-client';
import { WhochangedError } from '../core/errors.js';
import {
  appendJobRun,
  endStalledRun,
  findLastSuccesses,
  type JobRun,
  releaseJob,
  tryLockJob,
} from '../store/job-runs.js';
import type { Job, JobLog } from './job.js';
import { Leadership } from './leadership.js';
import { createJobMetrics, type JobMetrics } from './metrics.js';

const MAX_ERROR_TEXT = 1000;
/** A leader asks every five seconds: one that asked nothing for so long hangs. */
const SILENCE_MS = 20_000;
/** More than a round trip to a busy Postgres. */
const WRONG_CLOCK_MS = 5000;

export interface RunnerOptions {
  /** Direct connections to Postgres. The runner keeps one, and takes one more per job at work. */
  pool: Pool;
  jobs: readonly Job[];
  log: JobLog;
  registry: Registry;
  /** How long a process may ask nothing of Postgres until others take over. */
  silenceMs?: number;
}

/**
 * Runs jobs on their schedules in one process at a time (jobs/leadership.ts). A job never runs twice at once, in all
 * processes: each run holds the job's lock on the very connection that it works through.
 */
export class JobRunner {
  readonly #pool: Pool;
  readonly #jobs: ReadonlyMap<string, Job>;
  readonly #log: JobLog;
  readonly #metrics: JobMetrics;
  readonly #leadership: Leadership;
  readonly #running = new Map<string, Promise<unknown>>();
  readonly #again = new Set<string>();
  readonly #stopping = new AbortController();
  readonly #process = randomUUID().slice(0, 13);
  readonly #silenceMs: number;
  #clockIsWrong = false;
  #tasks: ScheduledTask[] = [];

  constructor(options: RunnerOptions) {
    this.#pool = options.pool;
    this.#jobs = new Map(options.jobs.map((job) => [job.name, job]));
    this.#log = options.log;
    this.#metrics = createJobMetrics(options.registry);
    this.#silenceMs = options.silenceMs ?? SILENCE_MS;
    this.#leadership = new Leadership(options.pool, options.log, {
      process: this.#process,
      silenceMs: this.#silenceMs,
      onGained: () => this.#startTasks(),
      onLost: () => this.#stopTasks(),
    });
  }

  get leading(): boolean {
    return this.#leadership.held;
  }

  /** Resolves after the first try for the lead, whatever came of it. Goes on until `stop`. */
  async start(): Promise<void> {
    await this.#leadership.start();
  }

  /** Lets the runs at work finish the transaction they are in, then gives up the lead. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#stopTasks();
    await Promise.all(this.#running.values());
    await this.#leadership.stop();
    this.#stopTasks();
  }

  /**
   * Runs a job now, in this process, whether or not it leads.
   * @throws WhochangedError `not_found` for no such job, `conflict` while it runs here or elsewhere
   */
  async run(name: string): Promise<JobRun> {
    const job = this.#jobs.get(name);
    if (!job) {
      throw new WhochangedError('not_found', `there is no job ${JSON.stringify(name)}`, {
        hint: `the jobs are ${[...this.#jobs.keys()].join(', ')}`,
      });
    }
    const run = this.#running.has(name) ? undefined : await this.#begin(job);
    if (!run)
      throw new WhochangedError('conflict', `job ${name} is running already`, {
        hint: 'wait for it to end',
        retryAfter: 5,
      });
    return run;
  }

  /** Says that a job has something to do: it runs at once where this process leads, and again if it is at work. */
  poke(name: string): void {
    const job = this.#jobs.get(name);
    if (!job || !this.leading || this.#stopping.signal.aborted) return;
    if (this.#running.has(name)) this.#again.add(name);
    else void this.#beginAlone(job);
  }

  #startTasks(): void {
    this.#metrics.leading.set(1);
    if (this.#stopping.signal.aborted) return;
    for (const job of this.#jobs.values()) {
      const begin = () => this.#beginAlone(job);
      const task = createTask(job.schedule, begin, {
        name: job.name,
        noOverlap: true,
        timezone: 'UTC',
        logger: quietLogger(this.#log),
      });
      // Emitted when the process was too busy, or asleep, at the time.
      task.on('execution:missed', () => void begin());
      task.start();
      this.#tasks.push(task);
    }
    void this.#catchUp();
  }

  #stopTasks(): void {
    this.#metrics.leading.set(0);
    for (const task of this.#tasks) task.destroy();
    this.#tasks = [];
  }

  /** Runs what was due while nobody led. */
  async #catchUp(): Promise<void> {
    try {
      const client = await this.#pool.connect();
      let last: Map<string, number>;
      try {
        last = await findLastSuccesses(client, [...this.#jobs.keys()]);
      } finally {
        client.release();
      }
      for (const task of [...this.#tasks]) {
        const [next, following] = task.getNextRuns(2);
        const job = this.#jobs.get(task.name!)!;
        if (!next || !following || !this.leading) continue;
        const due = next.getTime() - (following.getTime() - next.getTime());
        if ((last.get(job.name) ?? 0) < due) await this.#beginAlone(job);
      }
    } catch (error) {
      this.#log.error(
        { err: error },
        'missed job runs could not be looked up; jobs run when they are next due',
      );
    }
  }

  /** Starts a run; undefined where the job is at work elsewhere. Rejects where it could be neither run nor recorded. */
  #begin(job: Job): Promise<JobRun | undefined> {
    const run = this.#execute(job).finally(() => {
      this.#running.delete(job.name);
      if (this.#again.delete(job.name)) this.poke(job.name);
    });
    this.#running.set(
      job.name,
      run.catch(() => undefined),
    );
    return run;
  }

  /** The same for a run that nobody waits for. */
  async #beginAlone(job: Job): Promise<void> {
    if (this.#running.has(job.name) || this.#stopping.signal.aborted) return;
    try {
      await this.#begin(job);
    } catch (error) {
      this.#metrics.errors.inc({ job: job.name });
      this.#log.error(
        { err: error, job: job.name },
        'a job could not run; it runs again when it is next due',
      );
    }
  }

  async #execute(job: Job): Promise<JobRun | undefined> {
    const client = await this.#pool.connect();
    let broken = false;
    // Without a listener a broken connection would end the process; the query at work fails with the same error.
    const onError = () => {
      broken = true;
    };
    client.on('error', onError);
    try {
      const { held, clock } = await tryLockJob(client, job.name, this.#process);
      if (!held) {
        if (this.leading && (await endStalledRun(client, job.name, this.#silenceMs)))
          this.#log.warn({ job: job.name }, 'another process hung in the midst of a job: its run was ended');
        return undefined;
      }
      if (job.forAnyCluster) await client.query('set plan_cache_mode = force_generic_plan');
      const run = await this.#measure(job, client, this.#offsetFrom(clock));
      // What a failed run left open must not take the record of the failure with it.
      if (run.error !== undefined) await client.query('rollback').catch(onError);
      if (job.forAnyCluster && !broken) await client.query('reset plan_cache_mode').catch(onError);
      await appendJobRun(broken ? this.#pool : client, run);
      if (!broken) await releaseJob(client, job.name);
      return run;
    } catch (error) {
      broken = true;
      throw error;
    } finally {
      client.off('error', onError);
      // A connection in doubt is closed, which frees the job's lock and rolls back.
      client.release(broken);
    }
  }

  /** How far Postgres' clock is ahead of ours, in milliseconds. */
  #offsetFrom(clock: number): number {
    const offset = clock - Date.now();
    this.#metrics.clockOffset.set(offset / 1000);
    const wrong = Math.abs(offset) > WRONG_CLOCK_MS;
    if (wrong && !this.#clockIsWrong)
      this.#log.warn(
        { aheadSeconds: -offset / 1000 },
        "this machine's clock differs from Postgres': jobs go by that of Postgres; look after NTP",
      );
    this.#clockIsWrong = wrong;
    return offset;
  }

  /**
   * Runs a job and tells how it went. Its time is Postgres', by which rows were stamped: a machine's wrong clock must not
   * make verdicts final, or drop what is to be kept.
   */
  async #measure(job: Job, client: PoolClient, clockOffset: number): Promise<JobRun> {
    const now = () => new Date(Date.now() + clockOffset);
    const startedAt = now();
    const labels = { job: job.name };
    const run = (rows: number, error?: string): JobRun => ({
      job: job.name,
      startedAt,
      finishedAt: now(),
      rows,
      error,
    });
    let result: JobRun;
    try {
      const { rows } = await job.runOnce({
        client,
        now,
        log: this.#log,
        signal: this.#stopping.signal,
      });
      result = run(rows);
      this.#metrics.rows.inc(labels, rows);
      this.#metrics.lastSuccess.set(labels, result.finishedAt.getTime() / 1000);
    } catch (error) {
      this.#metrics.errors.inc(labels);
      this.#log.error({ err: error, job: job.name }, 'a job failed; it runs again when it is next due');
      const text = error instanceof Error ? error.message : String(error);
      result = run(0, text.slice(0, MAX_ERROR_TEXT));
    }
    this.#metrics.duration.observe(labels, (result.finishedAt.getTime() - startedAt.getTime()) / 1000);
    return result;
  }
}

/** node-cron warns of skipped overlaps, which are what noOverlap is for. */
function quietLogger(log: JobLog): CronLogger {
  const ignore = () => undefined;
  return {
    info: ignore,
    warn: ignore,
    debug: ignore,
    error: (message, error) => log.error({ err: error ?? message }, 'a job schedule failed'),
  };
}
