import { findLinks } from '../core/links/find-links.js';
import { writesAsPerson } from '../core/verdict/evaluate.js';
import { actorOf } from '../core/verdict/policy-match.js';
import { findClusterIDs, moveCursor, readCursor } from '../store/attribution.js';
import type { BodyCache } from '../store/body-cache.js';
import { wantRuns } from '../store/facts/ci-runs.js';
import type { LoadedPolicy } from '../store/policies.js';
import type { GitAnswers } from '../store/verdicts/commit-facts.js';
import { recordControllers } from '../store/verdicts/controller-records.js';
import { findLinksDue, markLinksDue } from '../store/verdicts/late-evidence.js';
import { gatherLinkCases } from '../store/verdicts/link-evidence.js';
import { type DecidedLinks, replaceLinks } from '../store/verdicts/links.js';
import type { Rendering } from '../store/verdicts/rendered-matches.js';
import { Graphs } from '../store/verdicts/repositories.js';
import {
  findSubjects,
  findSubjectsAfter,
  keyOf,
  readSubjects,
  type SubjectRow,
} from '../store/verdicts/subjects.js';
import { dropVerdictsDue } from '../store/verdicts/verdicts.js';
import { openJobBodies } from './body-cache.js';
import type { Job, JobContext } from './job.js';
import { inTransaction } from './transaction.js';

const NAME = 'links';
/** The job whose attributions links follow. */
const ATTRIBUTE = 'attribute';
const BATCH = 1000;

/**
 * Ties new changes to commits, and those again whose application told more of its syncs since. Each cluster's cursor on
 * `seq` moves with the links in one transaction, so that a run may break off anywhere. It stays behind attribution.
 * @param git by which manifests of commits are compared with what was written; without it that rule finds nothing
 */
export function linksJob(
  policy: () => Promise<LoadedPolicy>,
  git?: GitAnswers,
  bodyCache: BodyCache = openJobBodies(),
  graphs = new Graphs(),
): Job {
  const rendering: Rendering = { git, graphs };
  return {
    name: NAME,
    schedule: '*/5 * * * * *',
    forAnyCluster: true,
    async runOnce(context) {
      const current = await policy();
      let rows = 0;
      for (const clusterID of await findClusterIDs(context.client)) {
        rows += await linkNew(context, clusterID, current, bodyCache, rendering);
        rows += await linkAgain(context, clusterID, current, bodyCache, rendering);
        if (context.signal.aborted) break;
      }
      return { rows };
    },
  };
}

async function linkNew(
  context: JobContext,
  clusterID: number,
  policy: LoadedPolicy,
  bodyCache: BodyCache,
  rendering: Rendering,
): Promise<number> {
  const { client } = context;
  let done = 0;
  let cursor = await readCursor(client, NAME, clusterID);
  while (!context.signal.aborted) {
    const until = await readCursor(client, ATTRIBUTE, clusterID);
    const { rows, last } = await findSubjectsAfter(client, clusterID, cursor, until, BATCH);
    if (last === undefined) break;
    await inTransaction(client, async () => {
      const syncs = await recordControllers(client, clusterID, rows, bodyCache);
      await markLinksDue(client, syncs, context.now());
      done += await link(context, clusterID, rows, policy, bodyCache, rendering);
      await moveCursor(client, NAME, clusterID, last);
    });
    cursor = last;
  }
  return done;
}

async function linkAgain(
  context: JobContext,
  clusterID: number,
  policy: LoadedPolicy,
  bodyCache: BodyCache,
  rendering: Rendering,
): Promise<number> {
  const { client } = context;
  let done = 0;
  while (!context.signal.aborted) {
    const keys = await findLinksDue(client, clusterID, BATCH);
    if (keys.length === 0) break;
    const rows = await findSubjects(client, clusterID, keys);
    const there = new Set(rows.map((row) => row.change_id));
    await inTransaction(client, async () => {
      done += await link(context, clusterID, rows, policy, bodyCache, rendering);
      await dropVerdictsDue(
        client,
        clusterID,
        keys.filter(({ changeID }) => !there.has(changeID)),
      );
    });
  }
  return done;
}

async function link(
  context: JobContext,
  clusterID: number,
  rows: readonly SubjectRow[],
  policy: LoadedPolicy,
  bodyCache: BodyCache,
  rendering: Rendering,
): Promise<number> {
  const subjects = await readSubjects(context.client, clusterID, rows, bodyCache);
  // What a controller observed has no link and no verdict.
  for (const [row, { subject }] of subjects)
    if (row.class === 'status' && !writesAsPerson(subject, actorOf(policy.policy, subject.user)))
      subjects.delete(row);
  const cases = await gatherLinkCases(
    context.client,
    clusterID,
    subjects,
    policy.policy,
    bodyCache,
    rendering,
  );
  const decided = cases.map(
    ({ row, subject, evidence, application }): DecidedLinks => ({
      key: keyOf(row),
      objectID: row.object_id,
      namespace: row.namespace,
      application,
      decision: findLinks(subject, evidence),
    }),
  );
  await replaceLinks(context.client, clusterID, decided, context.now());
  await wantRuns(
    context.client,
    clusterID,
    cases.flatMap(({ row, sessionRun }) =>
      sessionRun?.wanted ? [{ ...sessionRun.name, ...keyOf(row) }] : [],
    ),
    context.now(),
  );
  return decided.length;
}
