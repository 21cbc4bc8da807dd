import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What an operator alerts on: refusals, what couldn't be decided, slowness, and decisions that wait to be kept. */
export interface AdmissionMetrics {
  requests: Counter<'cluster' | 'mode' | 'outcome'>;
  seconds: Histogram;
  waiting: Gauge;
  dropped: Counter;
}

export function createAdmissionMetrics(registry: Registry): AdmissionMetrics {
  const registers = [registry];
  return {
    requests: new Counter({
      name: 'whochanged_gate_requests_total',
      help: 'Admission requests by outcome: admitted, warned, denied, failed_open, failed_closed',
      labelNames: ['cluster', 'mode', 'outcome'],
      registers,
    }),
    seconds: new Histogram({
      name: 'whochanged_gate_seconds',
      help: 'From the whole admission request to its answer',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    }),
    waiting: new Gauge({
      name: 'whochanged_gate_decisions_waiting',
      help: 'Decisions that are answered and not yet in Postgres',
      registers,
    }),
    dropped: new Counter({
      name: 'whochanged_gate_decisions_dropped_total',
      help: 'Decisions that were never kept, since Postgres was away for too long',
      registers,
    }),
  };
}
