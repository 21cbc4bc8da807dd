import type { ClientBase } from 'pg';
import type { SourceState } from '../../core/drift/commit-drift.js';
import { isSha, type LinkedSource } from '../../core/links/link.js';
import { findRanges, pathOf, rangeID } from '../verdicts/commit-ranges.js';
import type { Graphs, MirroredRepo, Repositories } from '../verdicts/repositories.js';

/** What the mirrors say of the sources that are deployed: which commits on their branches are not. */
export async function findSourceStates(
  client: ClientBase,
  sources: readonly LinkedSource[],
  repositories: Repositories,
  graphs: Graphs,
): Promise<SourceState[]> {
  const states: SourceState[] = [];
  for (const source of sources) states.push(await sourceState(client, source, repositories, graphs));
  return states;
}

async function sourceState(
  client: ClientBase,
  source: LinkedSource,
  repositories: Repositories,
  graphs: Graphs,
): Promise<SourceState> {
  const none = { source, ahead: undefined, branch: undefined, fetchedAt: undefined };
  if (source.sha === undefined)
    return {
      ...none,
      unknown: source.chart === undefined ? 'it tells no commit' : `a chart, ${source.chart}, has no commit`,
    };
  const repo = repositories.find(source.repository);
  if (!repo) return { ...none, unknown: 'no mirror of it: add it, to know its commits' };
  const head = await findHead(client, repo, source.ref);
  if (!head)
    return {
      ...none,
      unknown: `${source.ref ?? 'its branch'} is no branch or tag in the mirror of ${repo.name}`,
    };
  const { branch, sha, fetchedAt } = head;
  if (sha === source.sha) return { source, ahead: [], branch, fetchedAt, unknown: undefined };
  const question = { repository: source.repository, previous: source.sha, sha, path: pathOf(source.path) };
  const range = (await findRanges(client, [question], repositories, graphs)).get(rangeID(question))!;
  const graph = await graphs.of(client, repo.id);
  // Where nothing since touched the path, the range holds the last commit that did: that one is deployed.
  const ahead = range.commits.filter((commit) => !graph.isAncestor(commit.sha, source.sha!));
  const only = range.unavailable !== undefined && !/is known to touch/.test(range.unavailable);
  return {
    source,
    ahead: only
      ? undefined
      : ahead
          .sort((a, b) => b.committedAt - a.committedAt)
          .map(({ repo: name, sha: id, subject, author, committedAt }) => ({
            repo: name,
            sha: id,
            subject,
            author: author.name ?? author.email ?? '',
            committedAt,
          })),
    branch,
    fetchedAt,
    unknown: only ? range.unavailable : undefined,
  };
}

/** The commit that what is followed stands at: a branch, a tag, or the repository's default branch. */
async function findHead(
  client: ClientBase,
  repo: MirroredRepo,
  ref: string | undefined,
): Promise<{ branch: string; sha: string; fetchedAt: string | undefined } | undefined> {
  const { rows } = await client.query<{
    name: string;
    sha: string;
    fetched_at: string | null;
    fallback: string | null;
  }>({
    name: 'drift-head',
    text: `select f.name, f.sha, r.fetched_at, coalesce(r.default_branch, regexp_replace(r.head_ref, '^refs/heads/', '')) as fallback
             from repos r join refs f on f.repo_id = r.id
            where r.id = $1 and f.name in ('refs/heads/' || $2::text, 'refs/tags/' || $2::text, $2::text,
                    'refs/heads/' || coalesce(r.default_branch, regexp_replace(r.head_ref, '^refs/heads/', '')))`,
    values: [repo.id, ref ?? 'HEAD'],
  });
  if (ref !== undefined && isSha(ref))
    return { branch: ref, sha: ref, fetchedAt: rows[0]?.fetched_at ?? undefined };
  const wanted =
    ref === undefined || ref === 'HEAD'
      ? [`refs/heads/${rows[0]?.fallback}`]
      : [ref, `refs/heads/${ref}`, `refs/tags/${ref}`];
  const found = wanted.flatMap((name) => rows.find((row) => row.name === name) ?? [])[0];
  return (
    found && {
      branch: found.name.replace(/^refs\/(heads|tags)\//, ''),
      sha: found.sha,
      fetchedAt: found.fetched_at ?? undefined,
    }
  );
}
