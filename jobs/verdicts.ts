import { findClusterIDs } from '../store/attribution.js';
import type { BodyCache } from '../store/body-cache.js';
import { type LoadedPolicy, recordPolicy } from '../store/policies.js';
import { type GitAnswers, recordEquivalences } from '../store/verdicts/commit-facts.js';
import { recordRanges } from '../store/verdicts/commit-ranges.js';
import { type Bench, type Judged, judgeChanges, type People } from '../store/verdicts/judge.js';
import { markVerdictsDue } from '../store/verdicts/late-evidence.js';
import { type DecidedLinks, replaceLinks } from '../store/verdicts/links.js';
import { Graphs } from '../store/verdicts/repositories.js';
import { findSubjects } from '../store/verdicts/subjects.js';
import { appendVerdicts, dropVerdictsDue, findDueVerdicts } from '../store/verdicts/verdicts.js';
import { openJobBodies } from './body-cache.js';
import type { Job, JobContext } from './job.js';
import { inTransaction } from './transaction.js';

const BATCH = 1000;

/** What verdicts are made with, beside the store. */
export interface VerdictMeans {
  policy: () => Promise<LoadedPolicy>;
  /** Undefined: without mirrors, what git would tell is unknown. */
  git: GitAnswers | undefined;
  people: People;
}

/**
 * Gives a verdict to each change that waits for one: new ones, those whose evidence changed, and those whose time for
 * late evidence is over. Verdicts are appended; equal ones are not repeated.
 */
export function verdictsJob(means: VerdictMeans, bodyCache: BodyCache = openJobBodies()): Job {
  const graphs = new Graphs();
  return {
    name: 'verdicts',
    schedule: '*/5 * * * * *',
    async runOnce(context) {
      const { client } = context;
      const policy = await means.policy();
      await recordPolicy(client, policy);
      await inTransaction(client, async () => {
        await markVerdictsDue(client, context.now());
      });
      const bench: Bench = {
        policy,
        git: means.git,
        people: means.people,
        graphs,
        bodyCache,
      };
      let rows = 0;
      for (const clusterID of await findClusterIDs(client)) {
        rows += await judgeDue(context, clusterID, bench);
        if (context.signal.aborted) break;
      }
      return { rows };
    },
  };
}

async function judgeDue(context: JobContext, clusterID: number, bench: Bench): Promise<number> {
  const { client } = context;
  let done = 0;
  while (!context.signal.aborted) {
    const now = context.now();
    const keys = await findDueVerdicts(client, clusterID, now, BATCH);
    if (keys.length === 0) break;
    const rows = await findSubjects(client, clusterID, keys);
    const { judged, ranges, facts } = await judgeChanges(client, clusterID, rows, bench, now);
    const there = new Set(rows.map((row) => row.change_id));
    await inTransaction(client, async () => {
      await recordRanges(client, ranges);
      await recordEquivalences(client, facts);
      await replaceLinks(client, clusterID, foundLate(judged), now);
      await appendVerdicts(client, clusterID, judged, bench.policy.policy, bench.policy.digest, now);
      await dropVerdictsDue(
        client,
        clusterID,
        keys.filter(({ changeID }) => !there.has(changeID)),
      );
    });
    done += judged.length;
  }
  return done;
}

/** Commits may be fetched after what they brought was linked: what their manifests tell is kept with the verdict. */
function foundLate(judged: readonly Judged[]): DecidedLinks[] {
  return judged
    .filter(({ decision }) => decision.candidates.some(({ rule }) => rule === 'rendered'))
    .map(({ row, key, application, decision }) => ({
      key,
      objectID: row.object_id,
      namespace: row.namespace,
      application,
      decision,
    }));
}
