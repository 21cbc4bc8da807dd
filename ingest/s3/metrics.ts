import { Counter, Gauge, type Registry } from 'prom-client';

/** What an operator alerts on: objects that fail or wait, listings that don't come through. */
export interface S3Metrics {
  objects: Counter<'source' | 'result'>;
  bytes: Counter<'source'>;
  errors: Counter<'source' | 'code'>;
  leaseExpiries: Counter;
  lagSeconds: Gauge<'source'>;
}

export function createS3Metrics(registry: Registry): S3Metrics {
  const registers = [registry];
  return {
    objects: new Counter({
      name: 'whochanged_s3_objects_total',
      help: 'Readings of objects by result: done, damaged, failed, gone, replaced',
      labelNames: ['source', 'result'],
      registers,
    }),
    bytes: new Counter({
      name: 'whochanged_s3_bytes_total',
      help: 'Bytes of objects read, as they lie there',
      labelNames: ['source'],
      registers,
    }),
    errors: new Counter({
      name: 'whochanged_s3_errors_total',
      help: 'Failures of listings, objects and queues by code: access_denied, throttled, damaged, ...',
      labelNames: ['source', 'code'],
      registers,
    }),
    leaseExpiries: new Counter({
      name: 'whochanged_s3_lease_expiries_total',
      help: 'Objects taken over from a replica that did not finish them in time',
      registers,
    }),
    lagSeconds: new Gauge({
      name: 'whochanged_s3_lag_seconds',
      help: 'Age of the oldest object that waits to be read; 0 when none does',
      labelNames: ['source'],
      registers,
    }),
  };
}
