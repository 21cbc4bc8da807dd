import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What an operator alerts on: refused or slow batches, a filling spool, events that can't be read. */
export interface IngestMetrics {
  events: Counter<'source' | 'result'>;
  skipped: Counter<'source' | 'reason'>;
  salvaged: Counter<'source'>;
  batches: Counter<'source' | 'result'>;
  bytes: Counter<'source'>;
  ackSeconds: Histogram;
  commitSeconds: Histogram;
  commitEvents: Histogram;
  inFlightBytes: Gauge;
  spoolBytes: Gauge;
  storeUp: Gauge;
}

export function createIngestMetrics(registry: Registry): IngestMetrics {
  const registers = [registry];
  return {
    events: new Counter({
      name: 'whochanged_ingest_events_total',
      help: 'Events by result: stored, duplicate, quarantined, spooled',
      labelNames: ['source', 'result'],
      registers,
    }),
    skipped: new Counter({
      name: 'whochanged_ingest_skipped_records_total',
      help: 'Records of objects and imported files that are no audit events, by what they are',
      labelNames: ['source', 'reason'],
      registers,
    }),
    salvaged: new Counter({
      name: 'whochanged_ingest_salvaged_events_total',
      help: 'Events of objects and imported files of which only a part could be read',
      labelNames: ['source'],
      registers,
    }),
    batches: new Counter({
      name: 'whochanged_ingest_batches_total',
      help: 'Posted batches by result: stored, spooled, refused',
      labelNames: ['source', 'result'],
      registers,
    }),
    bytes: new Counter({
      name: 'whochanged_ingest_bytes_total',
      help: 'Bytes of audit events received, decompressed',
      labelNames: ['source'],
      registers,
    }),
    ackSeconds: new Histogram({
      name: 'whochanged_ingest_ack_seconds',
      help: 'From the first byte of a batch to its acknowledgement',
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    commitSeconds: new Histogram({
      name: 'whochanged_ingest_commit_seconds',
      help: 'Duration of one transaction',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    commitEvents: new Histogram({
      name: 'whochanged_ingest_commit_events',
      help: 'Events in one transaction',
      buckets: [1, 10, 50, 100, 500, 1000, 2500, 5000, 10000],
      registers,
    }),
    inFlightBytes: new Gauge({
      name: 'whochanged_ingest_in_flight_bytes',
      help: 'Bytes of events received and not yet durable',
      registers,
    }),
    spoolBytes: new Gauge({
      name: 'whochanged_spool_bytes',
      help: 'Bytes in the spool; above 0 while Postgres is away or being caught up with',
      registers,
    }),
    storeUp: new Gauge({
      name: 'whochanged_store_up',
      help: '1 while commits to Postgres succeed',
      registers,
    }),
  };
}

/** Counts what became of a source's events in Postgres. */
export function countEvents(
  metrics: IngestMetrics,
  source: string,
  result: { stored: number; duplicates: number; quarantined: number },
): void {
  metrics.events.inc({ source, result: 'stored' }, result.stored);
  metrics.events.inc({ source, result: 'duplicate' }, result.duplicates);
  metrics.events.inc({ source, result: 'quarantined' }, result.quarantined);
}
