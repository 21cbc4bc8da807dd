import { Counter, Gauge, type Registry } from 'prom-client';

export interface RetentionMetrics {
  archivedEvents: Counter;
  archivedBytes: Counter;
  segments: Gauge<'state'>;
  failures: Counter;
}

export function createRetentionMetrics(registry: Registry): RetentionMetrics {
  const registers = [registry];
  return {
    archivedEvents: new Counter({
      name: 'whochanged_archived_events_total',
      help: 'Events that were written to the archive and read back',
      registers,
    }),
    archivedBytes: new Counter({
      name: 'whochanged_archived_bytes_total',
      help: 'Bytes of the Parquet files that were written to the archive',
      registers,
    }),
    segments: new Gauge({
      name: 'whochanged_archive_segments',
      help: 'Segments of the archive by state',
      labelNames: ['state'],
      registers,
    }),
    failures: new Counter({
      name: 'whochanged_archive_failures_total',
      help: 'Segments that could not be verified or dropped',
      registers,
    }),
  };
}
