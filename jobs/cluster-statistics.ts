import { findClusterIDs } from '../store/attribution.js';
import { analyzeClusters, findUnknownClusters } from '../store/cluster-statistics.js';
import type { Job } from './job.js';

/** A cluster that statistics still don't know after a look is too small a part of the ledger: the next look waits twice as long. */
const FIRST_WAIT_MS = 60_000;
const MAX_WAIT_MS = 86_400_000;

/**
 * Makes new clusters of a large ledger known to Postgres' statistics, which by itself looks again only once a tenth of a
 * table is new. Until then it takes a cluster for nearly empty, and answers questions about an object, or a namespace, by
 * walking through all that the cluster has.
 */
export function clusterStatisticsJob(): Job {
  const waits = new Map<number, { ms: number; until: number }>();
  return {
    name: 'cluster-statistics',
    schedule: '40 * * * * *',
    async runOnce({ client, now }) {
      const clusters = await findClusterIDs(client);
      const due = clusters.filter((id) => (waits.get(id)?.until ?? 0) <= now().getTime());
      const unknown = await findUnknownClusters(client, due);
      if (unknown.length === 0) return { rows: 0 };
      await analyzeClusters(client, unknown);
      for (const id of unknown) {
        const ms = Math.min(MAX_WAIT_MS, (waits.get(id)?.ms ?? FIRST_WAIT_MS / 2) * 2);
        waits.set(id, { ms, until: now().getTime() + ms });
      }
      return { rows: unknown.length };
    },
  };
}
