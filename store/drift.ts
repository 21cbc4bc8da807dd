import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import type { JsonObject } from '../core/audit-event.js';
import { type ApplicationState, deployedSync, type Engine } from '../core/drift/application-drift.js';
import { destinationOf, readingOf, type SourceState, wantedManifests } from '../core/drift/commit-drift.js';
import type { Drift } from '../core/drift/drift.js';
import { type DeployedManifests, judgeDrift } from '../core/drift/judge-drift.js';
import type { LinkedSource } from '../core/links/link.js';
import type { Policy } from '../core/verdict/policy.js';
import type { ApplicationRow } from './queries/applications.js';
import { findApplicationState, findHeardOf, isRecordedWhole } from './queries/drift.js';
import { findSourceStates } from './queries/drift-commits.js';
import { findManagedObjects } from './queries/drift-objects.js';
import type { Database } from './schema.js';
import type { GitAnswers } from './verdicts/commit-facts.js';
import { pathOf } from './verdicts/commit-ranges.js';
import { type Graphs, Repositories } from './verdicts/repositories.js';

/** What drift is told with, beside what whoever asks may see. */
export interface DriftMeans {
  /** The whole store: repositories are no tenant's. */
  pool: Pool;
  git: GitAnswers | undefined;
  graphs: Graphs;
}

export interface ApplicationDrift {
  state: ApplicationState;
  deployed: ReturnType<typeof deployedSync>;
  /** How many objects bear its mark, of those that were looked at. */
  objects: number;
  drift: Drift;
}

/**
 * Says how an application stands to git, from what the ledger holds of it and what the mirrors hold of its sources.
 * @param db what whoever asks may see
 * @param means undefined: they may not see repositories
 */
export async function findDrift(
  db: Kysely<Database>,
  application: ApplicationRow,
  policy: Policy,
  means: DriftMeans | undefined,
  now: number,
): Promise<ApplicationDrift> {
  const state = await findApplicationState(db, application);
  const deployed = deployedSync(state.syncs, policy);
  const sources = deployed.deployed?.sources ?? [];
  const git = means && (await askGit(means, state, sources));
  const { objects, more } = await findManagedObjects(db, application);
  const manifests = git?.manifests ?? { unknown: 'you may not see repositories' };
  const wanted =
    manifests.manifests && wantedManifests(manifests.manifests, destinationOf(state.engine, state.object));
  const drift = judgeDrift({
    state,
    objects,
    moreObjects: more,
    sources: git?.states ?? sources.map((source) => unseen(source)),
    manifests,
    heardOf: await findHeardOf(db, application.cluster_id, wanted?.map(({ key }) => key.name) ?? []),
    recordedWhole: await isRecordedWhole(db, application),
    policy,
    now,
  });
  return { state, deployed, objects: objects.length, drift };
}

function unseen(source: LinkedSource): SourceState {
  return {
    source,
    ahead: undefined,
    branch: undefined,
    fetchedAt: undefined,
    unknown: 'you may not see repositories',
  };
}

async function askGit(
  { pool, git, graphs }: DriftMeans,
  state: ApplicationState,
  sources: readonly LinkedSource[],
): Promise<{ states: SourceState[]; manifests: DeployedManifests }> {
  const client = await pool.connect();
  try {
    const repositories = await Repositories.load(client);
    const states = await findSourceStates(client, sources, repositories, graphs);
    client.release();
    return { states, manifests: await manifestsOf(git, state, sources, repositories) };
  } catch (error) {
    client.release(error as Error);
    throw error;
  }
}

async function manifestsOf(
  git: GitAnswers | undefined,
  { engine, object }: { engine: Engine; object: JsonObject | undefined },
  sources: readonly LinkedSource[],
  repositories: Repositories,
): Promise<DeployedManifests> {
  if (sources.length === 0) return { unknown: 'no commit is known to be deployed' };
  if (!git) return { unknown: 'no mirrors are at hand' };
  const all: JsonObject[] = [];
  let renderer = '';
  for (const [i, source] of sources.entries()) {
    const repo = source.sha === undefined ? undefined : repositories.find(source.repository);
    if (!repo) return { unknown: `${source.repository} is not mirrored, or tells no commit` };
    const reading = source.reading ?? readingOf(engine, object, i);
    if (!reading) return { unknown: 'its manifests are not rendered here' };
    const found = await git.manifests(repo.name, source.sha!, pathOf(source.path), reading);
    if (found.unknown !== undefined) return { unknown: found.unknown };
    all.push(...found.manifests);
    renderer = found.renderer;
  }
  return { manifests: all, renderer };
}
