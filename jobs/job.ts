import type { ClientBase } from 'pg';

/** What a job's run is given. */
export interface JobContext {
  /**
   * The connection that holds the job's lock. All of a job's database work goes through it: when it breaks, the lock and
   * the work end together.
   */
  client: ClientBase;
  /** Postgres' time, whatever this machine's clock says. */
  now: () => Date;
  log: JobLog;
  /** Set when the process is stopping: finish the transaction at hand and return. */
  signal: AbortSignal;
}

/** The part of a pino logger that jobs use. */
export interface JobLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Work done again and again. Running it twice, or after a run that broke off anywhere, does no harm. */
export interface Job {
  name: string;
  /** node-cron, with seconds: when it runs by itself. */
  schedule: string;
  /**
   * It looks things up by key in one cluster after another: its statements are planned once for any cluster. Planned for
   * each, a cluster that Postgres' statistics don't know yet seems empty, and each look-up walks through all that it has.
   */
  forAnyCluster?: boolean;
  runOnce(context: JobContext): Promise<{ rows: number }>;
}
