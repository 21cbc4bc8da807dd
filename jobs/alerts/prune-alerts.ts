import { pruneAlerts } from '../../store/alerts/prune.js';
import { findClusterIDs } from '../../store/attribution.js';
import type { Job } from '../job.js';

const DAY_MS = 86_400_000;

/** Deletes alerts, seen to or not, once they are older than they are kept. */
export function pruneAlertsJob(keepDays: number): Job {
  return {
    name: 'prune-alerts',
    schedule: '0 25 * * * *',
    async runOnce({ client, now, signal }) {
      const before = new Date(now().getTime() - keepDays * DAY_MS);
      let rows = 0;
      for (const clusterID of await findClusterIDs(client))
        rows += await pruneAlerts(client, clusterID, before, signal);
      return { rows };
    },
  };
}
