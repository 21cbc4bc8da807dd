import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { ImportRequest, ImportResult } from '../api/deps.js';
import { acceptValue, type Redaction } from '../core/accept.js';
import { WhochangedError } from '../core/errors.js';
import { localAcceptances } from '../ingest/acceptance/acceptance.js';
import { threadedAcceptances } from '../ingest/acceptance/threads.js';
import { DurableWriter } from '../ingest/durable-writer.js';
import { FORMATS, type Format } from '../ingest/formats/format.js';
import { Heartbeat } from '../ingest/heartbeat.js';
import { importFile } from '../ingest/import.js';
import { InFlight } from '../ingest/in-flight.js';
import { createIngestMetrics } from '../ingest/metrics.js';
import { createS3Metrics } from '../ingest/s3/metrics.js';
import { S3Ingest } from '../ingest/s3/s3-ingest.js';
import { Journal } from '../ingest/spool/journal.js';
import type { WebhookParts } from '../ingest/webhook/route.js';
import { SourceRegistry } from '../ingest/webhook/source-registry.js';
import { Ledger } from '../store/append.js';
import { beginImport } from '../store/imports.js';
import type { Config } from './config.js';
import { boundHeapGrowth } from './heap-growth.js';
import { loadRedaction } from './redaction.js';

const MAX_WAITERS = 512;
/** Objects wait for room as long as it takes: the longest that a timer takes. */
const OBJECT_WAIT_MS = 2 ** 31 - 1;

export interface IngestRole {
  webhook: WebhookParts;
  redaction: Redaction;
  s3: S3Ingest;
  spoolStatus(): { bytes: number };
  /** Puts a quarantined sample through the receiver again, under its source. */
  replay(
    source: { sourceID: number; clusterID: number },
    sample: string,
  ): Promise<{ stored: number; duplicates: number; quarantined: number; detail?: string }>;
  /** Imports a file, or says that it was imported before. */
  importFile(request: ImportRequest, input: Readable): Promise<ImportResult>;
  stop(): Promise<void>;
}

/** Everything between the socket and Postgres. Starts also while Postgres is away. */
export async function startIngest(
  config: Config,
  pool: Pool,
  registry: Registry,
  log: Logger,
  onCommit: () => void,
): Promise<IngestRole> {
  await mkdir(config.spool.dir, { recursive: true, mode: 0o700 });
  const { rules, key, redaction } = await loadRedaction(config.redaction);
  const { threads, maxItemBytes } = config.ingest;
  const acceptances =
    threads > 0
      ? threadedAcceptances({ rules, key, maxItemBytes }, threads, log)
      : localAcceptances(redaction, maxItemBytes);
  const journal = await Journal.open(config.spool.dir, { maxBytes: config.spool.maxBytes });
  const metrics = createIngestMetrics(registry);
  const ledger = new Ledger(pool, { bodyCacheBytes: config.ingest.bodyCacheBytes });
  const writer = new DurableWriter({ ledger, journal, redaction, metrics, log, onCommit });
  const inFlight = new InFlight({
    maxBytes: config.ingest.maxInFlightBytes,
    maxWaitMs: config.ingest.maxWaitMs,
    maxWaiters: MAX_WAITERS,
    onChange: (bytes) => metrics.inFlightBytes.set(bytes),
  });
  // Objects have less room than posts, and never what posts have.
  const objectsInFlight = new InFlight({
    maxBytes: config.s3.maxInFlightBytes,
    maxWaitMs: OBJECT_WAIT_MS,
    maxWaiters: Number.POSITIVE_INFINITY,
    // Who waits for objects can wait longer than an apiserver does: of CPU and memory, memory is what they are to spare.
    onChange: (bytes) => boundHeapGrowth(bytes > 0 ? config.s3.heapGrowthPercent : config.heapGrowthPercent),
  });
  const objectReader = { writer, inFlight: objectsInFlight, acceptances, metrics };
  const stopped = new AbortController();
  const s3 = new S3Ingest({
    pool,
    reader: objectReader,
    metrics: createS3Metrics(registry),
    log,
    options: config.s3,
  });
  const sources = new SourceRegistry(pool, join(config.spool.dir, 'sources.json'), log);
  await sources.start();
  const heartbeat = new Heartbeat(pool, join(config.spool.dir, 'uptimes.json'), log);
  await heartbeat.start();
  return {
    webhook: {
      registry: sources,
      receiver: {
        writer,
        inFlight,
        acceptances,
        metrics,
        onRefused: (sourceID, code) => heartbeat.refused(sourceID, code),
        maxBodyBytes: config.ingest.maxBodyBytes,
      },
    },
    redaction,
    s3,
    spoolStatus: () => ({ bytes: journal.bytes }),
    replay: async (source, sample) => {
      const acceptance = acceptValue(JSON.parse(sample), sample.length, undefined, redaction);
      if (!acceptance.ok)
        return { stored: 0, duplicates: 0, quarantined: 1, detail: acceptance.rejection.detail };
      return writer.submit({
        ...source,
        receivedAt: Date.now() * 1000,
        accepted: [acceptance.accepted],
        rejections: [],
      });
    },
    importFile: async (request, input) => {
      const parts = {
        pool,
        reader: objectReader,
        leaseSeconds: config.s3.leaseSeconds,
        signal: stopped.signal,
      };
      return runImport(request, input, parts);
    },
    stop: async () => {
      sources.stop();
      stopped.abort(new Error('whochanged is stopping'));
      await s3.stop();
      await heartbeat.stop();
      await acceptances.stop();
      await writer.stop();
    },
  };
}

async function runImport(
  request: ImportRequest,
  input: Readable,
  parts: Parameters<typeof importFile>[2],
): Promise<ImportResult> {
  const { source, name, sha256 } = request;
  const etag = sha256 === undefined ? `stdin:${randomUUID()}` : `sha256:${sha256}`;
  const begun = await beginImport(
    parts.pool,
    source,
    { name, etag, size: request.size ?? null },
    parts.leaseSeconds,
  );
  if (begun.state === 'busy')
    throw new WhochangedError('conflict', `${name} is being imported by another request`, {
      hint: 'wait for it; if it was broken off, its lease ends within a minute',
      retryAfter: 2,
    });
  if (begun.state === 'done') {
    const { id, events, stored, quarantined } = begun;
    return {
      id,
      known: true,
      events,
      duplicates: events - stored,
      quarantined,
      skipped: 0,
      salvaged: 0,
      trouble: undefined,
    };
  }
  const format = (FORMATS as readonly string[]).includes(request.format)
    ? (request.format as Format)
    : 'auto';
  const read = await importFile(
    { file: begun.file, source: source.name, name, format, sha256 },
    input,
    parts,
  );
  const { events, duplicates, quarantined, skipped, salvaged, trouble } = read;
  return { id: begun.file.id, known: false, events, duplicates, quarantined, skipped, salvaged, trouble };
}
