import { pruneJobRuns } from '../store/job-runs.js';
import type { Job } from './job.js';

const DAY_MS = 86_400_000;

/** Jobs run every few seconds: keeps a day of good runs and a month of failed ones. */
export function pruneJobRunsJob(): Job {
  return {
    name: 'prune-job-runs',
    schedule: '0 35 * * * *',
    async runOnce({ client, now }) {
      const time = now().getTime();
      return { rows: await pruneJobRuns(client, new Date(time - DAY_MS), new Date(time - 30 * DAY_MS)) };
    },
  };
}
