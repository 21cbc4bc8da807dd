import { findClusterIDs } from '../store/attribution.js';
import { analyzeClusters, findStandings } from '../store/cluster-statistics.js';
import type { Job } from './job.js';

/** A cluster that statistics still don't know after a look is too small a part of the ledger: the next look waits twice as long. */
const FIRST_WAIT_MS = 60_000;
const MAX_WAIT_MS = 86_400_000;
/** What is known is looked at again this much later: a plan over many months takes milliseconds. */
const KNOWN_MS = 3_600_000;

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
      const standings = await findStandings(client, due);
      const unknown = due.filter((id) => standings.get(id) === 'unknown');
      if (unknown.length > 0) await analyzeClusters(client, unknown);
      for (const id of due) {
        const standing = standings.get(id);
        if (standing === 'small') continue;
        const ms = Math.min(MAX_WAIT_MS, (waits.get(id)?.ms ?? FIRST_WAIT_MS / 2) * 2);
        const until = now().getTime() + (standing === 'known' ? KNOWN_MS : ms);
        waits.set(id, { ms: standing === 'known' ? FIRST_WAIT_MS / 2 : ms, until });
      }
      return { rows: unknown.length };
    },
  };
}
