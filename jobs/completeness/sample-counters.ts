import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { AuditCountersReader } from '../../core/completeness/prometheus-text.js';
import { findMetricsProbes, type MetricsProbe, recordAttempt } from '../../store/completeness/probes.js';
import { appendSample, type NewSample } from '../../store/completeness/samples.js';
import { type CredentialPlaces, readReference } from '../credentials.js';
import type { Job } from '../job.js';
import { askApiserver, type Connection } from './apiserver.js';
import type { CompletenessMetrics } from './metrics.js';
import { problemOf } from './problem.js';

/** Samples must lie further apart than what happens around one (store/completeness/samples.ts). */
const LEAST_SPACING_MS = 20_000;
const SECOND = 1_000_000;

/**
 * Reads the audit counters of each apiserver whose metrics can be asked for, each after a random part of `spreadMs`: where
 * in a second it is asked decides what the answer's date tells, and by turns that tells everything.
 */
export function sampleCountersJob(
  places: CredentialPlaces,
  metrics: CompletenessMetrics,
  spreadMs = 1000,
): Job {
  return {
    name: 'sample-counters',
    schedule: '5 * * * * *',
    async runOnce({ client, now, log, signal }) {
      const probes = await findMetricsProbes(client, new Date(now().getTime() - LEAST_SPACING_MS));
      const samples = await Promise.all(
        probes.map(async ({ sourceID, clusterID, name, probe }) => {
          await sleep(Math.random() * spreadMs);
          const at = now();
          try {
            return {
              sourceID,
              clusterID,
              name,
              at,
              sample: await readSample(probe, places, at, signal),
              error: undefined,
            };
          } catch (error) {
            return { sourceID, clusterID, name, at, sample: undefined, error: problemOf(error) };
          }
        }),
      );
      for (const { sourceID, clusterID, name, at, sample, error } of samples) {
        if (sample) await appendSample(client, clusterID, sourceID, sample);
        else
          log.warn({ source: name, reason: error }, 'the audit counters of an apiserver could not be read');
        await recordAttempt(client, 'metrics', sourceID, at, error);
        metrics.countersUp.set({ source: name }, sample ? 1 : 0);
      }
      return { rows: samples.filter(({ sample }) => sample).length };
    },
  };
}

async function readSample(
  probe: MetricsProbe,
  places: CredentialPlaces,
  sampledAt: Date,
  signal: AbortSignal,
): Promise<NewSample> {
  const auditID = randomUUID();
  const reader = new AuditCountersReader();
  const answer = await askApiserver(
    await connectionTo(probe, places),
    // The apiserver takes this id for its own audit events of the request (k8s.io/apiserver filters/audit_init.go).
    { method: 'GET', headers: { accept: 'text/plain; version=0.0.4', 'audit-id': auditID }, signal },
    (line) => reader.take(line),
  );
  if (answer.status !== 200) throw new Error(`${new URL(probe.url).origin} answered ${answer.status}`);
  const result = reader.result();
  if ('missing' in result)
    throw new Error(`the answer has no ${result.missing}: is this the /metrics of a kube-apiserver?`);
  if (answer.date === undefined) throw new Error('the answer has no Date');
  return {
    sampledAt,
    // It read its counters after the request had come and before it began to answer, which was within that second.
    readSince: answer.date - answer.answeredMs * 1000,
    readUntil: answer.date + SECOND,
    auditID,
    answeredMs: answer.answeredMs,
    ...result.counters,
  };
}

async function connectionTo(probe: MetricsProbe, places: CredentialPlaces): Promise<Connection> {
  const read = (reference: string | null) =>
    reference === null ? undefined : readReference(reference, places);
  return {
    url: probe.url,
    token: (await read(probe.token))?.trim(),
    ca: await read(probe.ca),
    cert: await read(probe.cert),
    key: await read(probe.key),
  };
}
