import { Gauge, Histogram, type Registry } from 'prom-client';

/** What an operator alerts on. Set by the process that leads the jobs. */
export interface CompletenessMetrics {
  openGaps: Gauge<'cause'>;
  completeRatio: Gauge<'source'>;
  countersUp: Gauge<'source'>;
  canaryUp: Gauge<'source'>;
  canaryLatency: Histogram<'source'>;
  receiverDowntime: Gauge;
}

export function createCompletenessMetrics(registry: Registry): CompletenessMetrics {
  const registers = [registry];
  const labelNames = ['source'] as const;
  return {
    openGaps: new Gauge({
      name: 'whochanged_gaps_open',
      help: 'Open gaps by cause',
      labelNames: ['cause'],
      registers,
    }),
    completeRatio: new Gauge({
      name: 'whochanged_completeness_ratio',
      help: 'Share of the last 24 hours that is proven complete, of sources whose counters are read',
      labelNames,
      registers,
    }),
    countersUp: new Gauge({
      name: 'whochanged_counters_up',
      help: '1 when the apiserver’s counters could be read at the last attempt',
      labelNames,
      registers,
    }),
    canaryUp: new Gauge({
      name: 'whochanged_canary_up',
      help: '1 when the canary could be written at the last attempt',
      labelNames,
      registers,
    }),
    canaryLatency: new Histogram({
      name: 'whochanged_canary_latency_seconds',
      help: 'From the write of a canary until its audit event is found in the ledger',
      labelNames,
      buckets: [1, 2, 5, 10, 20, 40, 60, 120, 300],
      registers,
    }),
    receiverDowntime: new Gauge({
      name: 'whochanged_receiver_downtime_seconds',
      help: 'Seconds of the last 24 hours in which no receiver was up',
      registers,
    }),
  };
}
