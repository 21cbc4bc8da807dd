import { randomUUID } from 'node:crypto';
import { appendCanary } from '../../store/completeness/canaries.js';
import { findCanaryProbes, recordAttempt } from '../../store/completeness/probes.js';
import { type CredentialPlaces, readReference } from '../credentials.js';
import type { Job } from '../job.js';
import { type Answered, askApiserver, type Connection } from './apiserver.js';
import { connectionOf, folderOf } from './kubeconfig.js';
import type { CompletenessMetrics } from './metrics.js';
import { problemOf } from './problem.js';

const EVERY_MS = 5 * 60_000;
const NAME = 'whochanged-canary';

/**
 * Writes a Lease of ours through each apiserver that has a canary. Its audit event must come back; find-gaps looks for it.
 * A Lease, since what renews one is bookkeeping, which no default answer shows.
 */
export function writeCanariesJob(places: CredentialPlaces, metrics: CompletenessMetrics): Job {
  return {
    name: 'write-canaries',
    schedule: '35 * * * * *',
    async runOnce({ client, now, log, signal }) {
      // A few seconds less, so that a run that comes early does not skip a turn.
      const probes = await findCanaryProbes(client, new Date(now().getTime() - EVERY_MS + 5000));
      const written = await Promise.all(
        probes.map(async ({ sourceID, clusterID, name, probe }) => {
          const sentAt = now();
          try {
            const connection = await connectionOf(
              await readReference(probe.kubeconfig, places),
              folderOf(probe.kubeconfig),
            );
            const auditID = await writeCanary(connection, probe.namespace, sentAt, signal);
            return { sourceID, clusterID, name, sentAt, auditID, error: undefined };
          } catch (error) {
            return { sourceID, clusterID, name, sentAt, auditID: undefined, error: problemOf(error) };
          }
        }),
      );
      for (const { sourceID, clusterID, name, sentAt, auditID, error } of written) {
        if (auditID !== undefined) await appendCanary(client, { clusterID, sourceID, auditID, sentAt });
        else log.warn({ source: name, reason: error }, 'a canary could not be written');
        await recordAttempt(client, 'canary', sourceID, sentAt, error);
        metrics.canaryUp.set({ source: name }, auditID === undefined ? 0 : 1);
      }
      return { rows: written.filter(({ auditID }) => auditID !== undefined).length };
    },
  };
}

/** Renews the Lease, or makes it. Returns the auditID under which the apiserver must tell of it. */
async function writeCanary(
  connection: Connection,
  namespace: string,
  at: Date,
  signal: AbortSignal,
): Promise<string> {
  const leases = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases`;
  const send = async (
    method: string,
    path: string,
    type: string,
  ): Promise<Answered & { auditID: string }> => {
    const auditID = randomUUID();
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: NAME, annotations: { 'whochanged/canary': auditID } },
      // metav1.MicroTime
      spec: { holderIdentity: 'whochanged', renewTime: at.toISOString().replace('Z', '000Z') },
    };
    const headers = { 'content-type': type, accept: 'application/json', 'audit-id': auditID };
    const body = JSON.stringify(lease);
    const ignore = () => undefined;
    const to = { ...connection, url: connection.url + path };
    return { ...(await askApiserver(to, { method, headers, body, signal }, ignore)), auditID };
  };
  const renewed = await send('PATCH', `${leases}/${NAME}`, 'application/merge-patch+json');
  const answer = renewed.status === 404 ? await send('POST', leases, 'application/json') : renewed;
  if (answer.status === 200 || answer.status === 201) return answer.auditID;
  const hint =
    answer.status === 403 || answer.status === 401
      ? `: may it patch and create leases in the namespace ${namespace}?`
      : '';
  throw new Error(`${new URL(connection.url).origin} answered ${answer.status}${hint}`);
}
