import { linkDecisions } from '../store/gate/link-decisions.js';
import type { Job } from './job.js';

const BATCH = 1000;

/** Ties the gate's decisions to the audit events that carry them. One whose event hasn't come is looked for again. */
export function linkDecisionsJob(): Job {
  return {
    name: 'link-decisions',
    schedule: '*/5 * * * * *',
    forAnyCluster: true,
    async runOnce({ client, now }) {
      return { rows: await linkDecisions(client, now(), BATCH) };
    },
  };
}
