import type { ClientBase } from 'pg';
import type { Subject } from '../../core/links/link.js';
import { type CiRun, runOfSession } from '../../core/links/pipeline.js';
import type { Policy } from '../../core/verdict/policy.js';
import { findRuns, type RunName } from '../facts/ci-runs.js';
import { Repositories } from './repositories.js';
import type { SubjectRow } from './subjects.js';

/** The run that a session names: as its host told it, or still to be asked for. */
export interface SessionRun {
  name: RunName;
  told: CiRun | undefined;
  /** The host wasn't asked for it, or asked while it went on, before the change. */
  wanted: boolean;
}

/** The runs that pipelines' sessions name without a commit, of repositories that are known here, by change id. */
export async function findSessionRuns(
  client: ClientBase,
  traced: ReadonlyArray<{ row: SubjectRow; subject: Subject }>,
  policy: Policy,
): Promise<Map<string, SessionRun>> {
  const named = traced.flatMap(({ row, subject }) => {
    const session = runOfSession(subject, policy);
    return session ? [{ id: row.change_id, at: subject.at, ...session }] : [];
  });
  if (named.length === 0) return new Map();
  const repositories = await Repositories.load(client);
  const asked = named.flatMap(({ id, at, repository, run }) => {
    const repo = repositories.find(repository);
    return repo ? [{ id, at, name: { repoID: repo.id, run } }] : [];
  });
  const known = await findRuns(
    client,
    asked.map(({ name }) => name),
  );
  return new Map(
    asked.map(({ id, at, name }): [string, SessionRun] => {
      const run = known.get(`${name.repoID} ${name.run}`);
      if (!run) return [id, { name, told: undefined, wanted: true }];
      if (!run.told) return [id, { name, told: undefined, wanted: false }];
      const { sha, startedAt, endedAt, url } = run.told;
      const told = { sha, startedAt, until: endedAt ?? run.askedAt, ended: endedAt !== undefined, url };
      return [id, { name, told, wanted: endedAt === undefined && at > run.askedAt }];
    }),
  );
}
