import { compactPartition, findPartitionsToCompact } from '../store/compaction.js';
import type { Job } from './job.js';

/** Builds the indexes of months that are over anew: they take a quarter less, on disk and of the memory that answers are found in. */
export function compactMonthsJob(): Job {
  return {
    name: 'compact-months',
    schedule: '0 20 2 * * *',
    async runOnce({ client, now, signal }) {
      let compacted = 0;
      for (const name of await findPartitionsToCompact(client, now().toISOString())) {
        if (!(await compactPartition(client, name, signal))) break;
        compacted++;
      }
      return { rows: compacted };
    },
  };
}
