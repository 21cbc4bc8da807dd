import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What an operator alerts on, of alerts themselves. Set by the process that leads the jobs. */
export interface AlertMetrics {
  rules: Gauge;
  unsupported: Gauge;
  raised: Counter<'rule'>;
  lastLook: Gauge;
  attempts: Counter<'receiver' | 'outcome'>;
  due: Gauge<'receiver'>;
  oldestDue: Gauge;
  latency: Histogram<'receiver'>;
}

export function createAlertMetrics(registry: Registry): AlertMetrics {
  const registers = [registry];
  return {
    rules: new Gauge({ name: 'whochanged_alert_rules', help: 'Rules that are looked for', registers }),
    unsupported: new Gauge({
      name: 'whochanged_alert_rules_unsupported',
      help: 'Rules of Sigma and Falco that are left out, since they have something that is not supported',
      registers,
    }),
    raised: new Counter({
      name: 'whochanged_alerts_raised_total',
      help: 'Alerts raised',
      labelNames: ['rule'],
      registers,
    }),
    lastLook: new Gauge({
      name: 'whochanged_alerts_last_look_timestamp_seconds',
      help: 'When everything new was last looked through, Unix time',
      registers,
    }),
    attempts: new Counter({
      name: 'whochanged_alert_attempts_total',
      help: 'Attempts to deliver an alert: delivered, failed (to be tried again) or given_up',
      labelNames: ['receiver', 'outcome'],
      registers,
    }),
    due: new Gauge({
      name: 'whochanged_alert_deliveries_due',
      help: 'Deliveries that are not settled',
      labelNames: ['receiver'],
      registers,
    }),
    oldestDue: new Gauge({
      name: 'whochanged_alert_oldest_due_seconds',
      help: 'How long the oldest alert waits that a receiver has not been told of',
      registers,
    }),
    latency: new Histogram({
      name: 'whochanged_alert_delivery_seconds',
      help: 'How long attempts to deliver take',
      labelNames: ['receiver'],
      buckets: [0.01, 0.05, 0.2, 1, 3, 10],
      registers,
    }),
  };
}
