import { ensurePartitions, monthOf } from '../store/partitions.js';
import type { Job } from './job.js';

/** Makes this month's partitions and the next two ahead of the rows, so that ingest never waits for them. */
export function partitionsJob(): Job {
  return {
    name: 'partitions',
    schedule: '0 5 * * * *',
    async runOnce({ client, now }) {
      const month = monthOf(now().getTime() * 1000);
      const months = [month, month + 1, month + 2];
      await ensurePartitions(client, months);
      return { rows: months.length };
    },
  };
}
