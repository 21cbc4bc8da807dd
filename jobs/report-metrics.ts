import { Counter, Gauge, type Registry } from 'prom-client';

export interface ReportMetrics {
  deliveredUntil: Gauge<'delivery'>;
  waiting: Gauge<'delivery'>;
  failures: Counter<'delivery'>;
}

export function createReportMetrics(registry: Registry): ReportMetrics {
  const registers = [registry];
  return {
    deliveredUntil: new Gauge({
      name: 'whochanged_report_delivered_until_timestamp_seconds',
      help: 'End of the newest period whose report was delivered',
      labelNames: ['delivery'],
      registers,
    }),
    waiting: new Gauge({
      name: 'whochanged_report_deliveries_waiting',
      help: 'Periods that have ended and whose report is still to be delivered',
      labelNames: ['delivery'],
      registers,
    }),
    failures: new Counter({
      name: 'whochanged_report_delivery_failures_total',
      help: 'Attempts to deliver a report that failed',
      labelNames: ['delivery'],
      registers,
    }),
  };
}
