import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What an operator alerts on: a job that fails, takes too long, or has not succeeded for a while. */
export interface JobMetrics {
  duration: Histogram<'job'>;
  rows: Counter<'job'>;
  errors: Counter<'job'>;
  lastSuccess: Gauge<'job'>;
  leading: Gauge;
  clockOffset: Gauge;
}

export function createJobMetrics(registry: Registry): JobMetrics {
  const registers = [registry];
  return {
    duration: new Histogram({
      name: 'whochanged_job_duration_seconds',
      help: 'How long runs of a job take',
      labelNames: ['job'],
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300],
      registers,
    }),
    rows: new Counter({
      name: 'whochanged_job_rows_total',
      help: 'Rows that runs of a job dealt with',
      labelNames: ['job'],
      registers,
    }),
    errors: new Counter({
      name: 'whochanged_job_errors_total',
      help: 'Runs of a job that failed',
      labelNames: ['job'],
      registers,
    }),
    lastSuccess: new Gauge({
      name: 'whochanged_job_last_success_timestamp_seconds',
      help: 'When a run of a job last finished well in this process, Unix time',
      labelNames: ['job'],
      registers,
    }),
    leading: new Gauge({
      name: 'whochanged_jobs_leader',
      help: '1 in the process that runs the jobs',
      registers,
    }),
    clockOffset: new Gauge({
      name: 'whochanged_clock_offset_seconds',
      help: "How far Postgres' clock is ahead of this process', as of its last run of a job",
      registers,
    }),
  };
}
