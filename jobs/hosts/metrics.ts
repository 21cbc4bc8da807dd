import { Counter, Gauge, type Registry } from 'prom-client';

/** What an operator alerts on: a host that refuses, limits, or was not heard of for long. */
export interface HostMetrics {
  requests: Counter<'host' | 'status'>;
  rateRemaining: Gauge<'host'>;
  syncedAt: Gauge<'repo'>;
  errors: Counter<'repo'>;
  due: Gauge<'repo'>;
}

export function createHostMetrics(registry: Registry): HostMetrics {
  const registers = [registry];
  return {
    requests: new Counter({
      name: 'whochanged_host_requests_total',
      help: "Requests to git hosts' APIs by status; failed: without an answer",
      labelNames: ['host', 'status'],
      registers,
    }),
    rateRemaining: new Gauge({
      name: 'whochanged_host_rate_limit_remaining',
      help: 'Requests that the host still takes before its limit is reset',
      labelNames: ['host'],
      registers,
    }),
    syncedAt: new Gauge({
      name: 'whochanged_host_synced_timestamp_seconds',
      help: 'As of when all that the host knows of a repository is imported, Unix time',
      labelNames: ['repo'],
      registers,
    }),
    errors: new Counter({
      name: 'whochanged_host_sync_errors_total',
      help: 'Syncs of a repository that failed',
      labelNames: ['repo'],
      registers,
    }),
    due: new Gauge({
      name: 'whochanged_host_pull_requests_due',
      help: 'Pull requests named by a listing or a webhook and not yet fetched',
      labelNames: ['repo'],
      registers,
    }),
  };
}
