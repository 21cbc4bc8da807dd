import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { GateParts } from '../ingest/admission/gate.js';
import { createAdmissionMetrics } from '../ingest/admission/metrics.js';
import { createPool } from '../store/database.js';
import { DecisionWriter } from '../store/gate/decision-writer.js';
import { AdmissionJudge, type GateMeans } from '../store/gate/judge-admission.js';
import type { Config } from './config.js';
import type { IngestRole } from './ingest-role.js';
import type { StoreConnection } from './store-connection.js';

/** Few: what most requests need is in memory, and an apiserver's requests must not wait behind a batch of events. */
const CONNECTIONS = 4;

export interface GateRole {
  parts: GateParts;
  stop(): Promise<void>;
}

/** What answers apiservers' admission requests, with connections of its own. */
export function startGate(
  config: Config,
  store: StoreConnection,
  ingest: IngestRole,
  means: Omit<GateMeans, 'pool'>,
  registry: Registry,
  log: Logger,
): GateRole {
  const pool = createPool({
    ...store.options,
    poolSize: CONNECTIONS,
    applicationName: 'whochanged-gate',
  });
  pool.on('error', (error) => log.warn({ err: error }, 'the gate lost a connection to Postgres'));
  const metrics = createAdmissionMetrics(registry);
  const writer = new DecisionWriter(pool, {
    dropped: (count) => metrics.dropped.inc(count),
    error: (error) => log.warn({ err: error }, 'decisions of the gate wait for Postgres'),
  });
  return {
    parts: {
      judge: new AdmissionJudge({ ...means, pool }),
      writer,
      redaction: ingest.redaction,
      metrics,
      log,
      deadlineMs: config.gateDeadlineMs,
    },
    stop: async () => {
      await writer.stop();
      await pool.end();
    },
  };
}
