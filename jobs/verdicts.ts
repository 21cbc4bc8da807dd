import type { ClientBase } from 'pg';
import { findClusterIDs } from '../store/attribution.js';
import type { BodyCache } from '../store/body-cache.js';
import { type LoadedPolicy, recordPolicy } from '../store/policies.js';
import { type GitAnswers, recordEquivalences } from '../store/verdicts/commit-facts.js';
import { recordRanges } from '../store/verdicts/commit-ranges.js';
import { type Bench, gatherCases, type Judged, judgeGathered, type People } from '../store/verdicts/judge.js';
import { markVerdictsDue } from '../store/verdicts/late-evidence.js';
import { type DecidedLinks, replaceLinks } from '../store/verdicts/links.js';
import { Graphs } from '../store/verdicts/repositories.js';
import { type ChangeKey, findSubjects } from '../store/verdicts/subjects.js';
import { appendVerdicts, dropVerdictsDue, findDueVerdicts } from '../store/verdicts/verdicts.js';
import { openJobBodies } from './body-cache.js';
import type { Job, JobContext } from './job.js';
import { inTransaction } from './transaction.js';

/** So many batches are looked up at once. */
const ROUND = 8;

/** What verdicts are made with, beside the store. */
export interface VerdictMeans {
  policy: () => Promise<LoadedPolicy>;
  /** Undefined: without mirrors, what git would tell is unknown. */
  git: GitAnswers | undefined;
  people: People;
  /** Shared with whoever else judges by them; its own unless told. */
  graphs?: Graphs;
  /** How many changes are judged together; 1,000 unless told. */
  batch?: number;
}

/**
 * Gives a verdict to each change that waits for one: new ones, those whose evidence changed, and those whose time for
 * late evidence is over. Verdicts are appended; equal ones are not repeated.
 */
export function verdictsJob(means: VerdictMeans, bodyCache: BodyCache = openJobBodies()): Job {
  const graphs = means.graphs ?? new Graphs();
  return {
    name: 'verdicts',
    schedule: '*/5 * * * * *',
    forAnyCluster: true,
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
        rows += await judgeDue(context, clusterID, bench, means.batch ?? 1000);
        if (context.signal.aborted) break;
      }
      return { rows };
    },
  };
}

/**
 * Judges batch by batch. While Postgres writes one, what the next rests on is gathered already, in the statements between: all
 * but the verdicts of others, which it waits for.
 */
async function judgeDue(
  context: JobContext,
  clusterID: number,
  bench: Bench,
  batch: number,
): Promise<number> {
  const { client, signal } = context;
  let done = 0;
  for (let found = true; found && !signal.aborted; ) {
    const due = await findDueVerdicts(client, clusterID, context.now(), batch * ROUND);
    found = due.length > 0;
    let written: Promise<void> = Promise.resolve();
    for (let at = 0; at < due.length && !signal.aborted; at += batch) {
      const keys = due.slice(at, at + batch);
      const [wrote, read] = await Promise.allSettled([written, gatherDue(client, clusterID, keys, bench)]);
      // Of two that fail, it is the writing that tells why: what is asked in its transaction then fails too.
      if (wrote.status === 'rejected') throw wrote.reason;
      if (read.status === 'rejected') throw read.reason;
      const { gathered, gone } = read.value;
      const now = context.now();
      const judgement = await judgeGathered(client, clusterID, gathered, bench, now);
      const late = foundLate(judgement.judged);
      written = inTransaction(client, async () => {
        await recordRanges(client, judgement.ranges);
        await recordEquivalences(client, judgement.facts);
        await replaceLinks(client, clusterID, late, now);
        const { policy, digest } = bench.policy;
        await appendVerdicts(client, clusterID, judgement.judged, policy, digest, now);
        await dropVerdictsDue(client, clusterID, gone);
      });
      // Links that were found only now may tell what a pipeline deployed before.
      if (late.length > 0) await written;
      done += judgement.judged.length;
    }
    await written;
  }
  return done;
}

async function gatherDue(client: ClientBase, clusterID: number, keys: readonly ChangeKey[], bench: Bench) {
  const rows = await findSubjects(client, clusterID, keys);
  const there = new Set(rows.map((row) => row.change_id));
  return {
    gathered: await gatherCases(client, clusterID, rows, bench),
    gone: keys.filter(({ changeID }) => !there.has(changeID)),
  };
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
