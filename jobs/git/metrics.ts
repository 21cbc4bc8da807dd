import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What an operator alerts on: a mirror that can't be fetched, or that gets old. */
export interface GitMetrics {
  duration: Histogram<'repo'>;
  errors: Counter<'repo'>;
  lastFetch: Gauge<'repo'>;
  commits: Counter<'repo'>;
}

export function createGitMetrics(registry: Registry): GitMetrics {
  const registers = [registry];
  const labelNames = ['repo'] as const;
  return {
    duration: new Histogram({
      name: 'whochanged_git_fetch_duration_seconds',
      help: 'How long fetching and indexing a repository takes, failures included',
      labelNames,
      buckets: [0.1, 0.5, 2, 10, 60, 300, 1800],
      registers,
    }),
    errors: new Counter({
      name: 'whochanged_git_fetch_errors_total',
      help: 'Fetches of a repository that failed',
      labelNames,
      registers,
    }),
    lastFetch: new Gauge({
      name: 'whochanged_git_last_fetch_timestamp_seconds',
      help: 'When the last fetch of a repository that went well began, Unix time: its mirror is as of then',
      labelNames,
      registers,
    }),
    commits: new Counter({
      name: 'whochanged_git_commits_total',
      help: 'Commits indexed',
      labelNames,
      registers,
    }),
  };
}
