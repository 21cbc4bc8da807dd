import type { ClientBase } from 'pg';
import type { Commit, Person } from '../../core/approval/facts.js';
import { sha256 } from '../../core/canonical.js';
import { parseMicros } from '../../core/timestamp.js';
import type { Graphs, MirroredRepo, Repositories } from './repositories.js';

/** What was deployed from one source, since what was deployed before. */
export interface RangeQuestion {
  /** As the controller or pipeline names it. */
  repository: string;
  /** Undefined: nothing is known to have been deployed before. */
  previous: string | undefined;
  sha: string;
  /** Of the repository's files, '' for all. */
  path: string;
}

export interface CommitRange {
  id: string;
  question: RangeQuestion;
  repo: MirroredRepo | undefined;
  commits: Commit[];
  /** Why it can't be told. */
  unavailable?: string;
  note?: string;
}

/** A range of more commits than this is no deployment anyone reviewed commit by commit. */
const MOST_COMMITS = 5000;
/** How many commits that touched a path are looked at to find the last one in a revision. */
const LOOK_BACK = 200;

export function rangeID({ repository, previous, sha, path }: RangeQuestion): string {
  return sha256(`${repository}\n${previous ?? ''}\n${sha}\n${path}`)
    .readBigInt64BE(0)
    .toString();
}

/** `apps/web`, without leading and trailing marks; '' for the root. */
export function pathOf(path: string | undefined): string {
  return (path ?? '').replace(/^(\.?\/)+|\/+$|^\.$/g, '');
}

/** The commits of each range that touch its path, by range id. */
export async function findRanges(
  client: ClientBase,
  questions: readonly RangeQuestion[],
  repositories: Repositories,
  graphs: Graphs,
): Promise<Map<string, CommitRange>> {
  const ranges = new Map<string, CommitRange>();
  const wanted = new Map<number, Set<string>>();
  const candidates = new Map<string, string[]>();
  for (const question of questions) {
    const id = rangeID(question);
    if (ranges.has(id)) continue;
    const repo = repositories.find(question.repository);
    const range: CommitRange = { id, question, repo, commits: [] };
    ranges.set(id, range);
    if (!repo) {
      range.unavailable = `no repository of ours is ${question.repository || 'the one that it names'}: add it, to know its commits`;
      continue;
    }
    const graph = await graphs.of(client, repo.id);
    const { previous, sha } = question;
    if (!graph.has(sha)) {
      range.unavailable = `commit ${sha} is not in the mirror of ${repo.name}`;
      continue;
    }
    let shas: string[] | undefined;
    if (previous === undefined)
      range.note = 'nothing is known to have been deployed before: only the last commit was looked at';
    else if (!graph.has(previous))
      range.unavailable = `commit ${previous}, deployed before, is not in the mirror of ${repo.name}`;
    else {
      shas = graph.range(previous, sha);
      if (!shas)
        range.unavailable = `history between ${previous} and ${sha} is not whole in the mirror of ${repo.name}`;
      else if (shas.length > MOST_COMMITS)
        range.unavailable = `${shas.length} commits lie between ${previous} and ${sha}: too many to look at`;
    }
    if (range.unavailable !== undefined) continue;
    candidates.set(id, shas ?? []);
    const own = wanted.get(repo.id) ?? new Set();
    for (const one of shas ?? []) own.add(one);
    wanted.set(repo.id, own);
  }
  const commits = await findCommits(client, wanted);
  for (const [id, shas] of candidates) {
    const range = ranges.get(id)!;
    const { path, sha } = range.question;
    range.commits = shas
      .flatMap((one) => commits.get(`${range.repo!.id} ${one}`) ?? [])
      .filter((commit) => touches(commit, path));
    // Nothing touched the path since, or nothing is known of before: what stands there is the last commit that did.
    if (range.commits.length === 0)
      range.commits = await findLastTouching(
        client,
        range.repo!,
        sha,
        path,
        await graphs.of(client, range.repo!.id),
      );
    if (range.commits.length === 0)
      range.unavailable = `no commit up to ${sha} is known to touch ${path || 'the repository'} in ${range.repo!.name}`;
  }
  return ranges;
}

function touches(commit: Commit, path: string): boolean {
  // A merge that takes both sides as they are changes nothing of its own; against its first parent it shows the branch.
  return path === ''
    ? commit.changedPaths.length > 0 || commit.parents.length < 2
    : commit.changedPaths.some((one) => one === path || one.startsWith(`${path}/`));
}

async function findLastTouching(
  client: ClientBase,
  repo: MirroredRepo,
  sha: string,
  path: string,
  graph: { isAncestor(a: string, b: string): boolean },
): Promise<Commit[]> {
  if (path === '') return [...(await findCommits(client, new Map([[repo.id, new Set([sha])]]))).values()];
  const { rows } = await client.query<{ sha: string }>({
    name: 'last-touching',
    // collate "C": a prefix is a range of the index; '0' is the character after '/'.
    text: `select c.sha from (
             select distinct sha from commit_paths
              where repo_id = $1 and (path = $2 or path >= $2 || '/' and path < $2 || '0')) p
             join commits c on c.repo_id = $1 and c.sha = p.sha
            order by c.committed_at desc limit $3`,
    values: [repo.id, path, LOOK_BACK],
  });
  const last = rows.find((row) => graph.isAncestor(row.sha, sha))?.sha;
  if (last === undefined) return [];
  return [...(await findCommits(client, new Map([[repo.id, new Set([last])]]))).values()];
}

interface CommitRow {
  repo_id: number;
  repo: string;
  sha: string;
  tree: string;
  parents: string[];
  author_name: string;
  author_email: string;
  authored_at: string;
  committer_name: string;
  committer_email: string;
  committed_at: string;
  co_authors: Person[] | null;
  signature: Commit['signature'];
  signer: string | null;
  subject: string;
  changed_paths: string[];
}

/** Commits as they were indexed, by `repoID sha`. */
async function findCommits(
  client: ClientBase,
  wanted: ReadonlyMap<number, ReadonlySet<string>>,
): Promise<Map<string, Commit>> {
  const found = new Map<string, Commit>();
  for (const [repoID, shas] of wanted) {
    if (shas.size === 0) continue;
    const { rows } = await client.query<CommitRow>({
      name: 'commits-by-sha',
      text: `select c.repo_id, r.name as repo, c.sha, c.tree, c.parents, c.author_name, c.author_email, c.authored_at,
                    c.committer_name, c.committer_email, c.committed_at, c.co_authors, c.signature, c.signer, c.subject,
                    c.changed_paths
               from commits c join repos r on r.id = c.repo_id
              where c.repo_id = $1 and c.sha = any($2::text[])`,
      values: [repoID, [...shas]],
    });
    for (const row of rows) found.set(`${repoID} ${row.sha}`, commitOf(row));
  }
  return found;
}

function commitOf(row: CommitRow): Commit {
  return {
    repo: row.repo,
    sha: row.sha,
    tree: row.tree,
    parents: row.parents,
    author: { name: row.author_name, email: row.author_email },
    authoredAt: parseMicros(row.authored_at)!,
    committer: { name: row.committer_name, email: row.committer_email },
    committedAt: parseMicros(row.committed_at)!,
    coAuthors: row.co_authors ?? [],
    signature: row.signature,
    ...(row.signer !== null && { signer: row.signer }),
    subject: row.subject,
    changedPaths: row.changed_paths,
  };
}

/** Keeps which commits each verdict rests on, so that late facts about them find it. */
export async function recordRanges(client: ClientBase, ranges: Iterable<CommitRange>): Promise<void> {
  const rows = [...ranges].map(({ id, question, repo, commits }) => ({
    id,
    repository: question.repository,
    repo: repo?.name ?? null,
    previous_sha: question.previous ?? null,
    sha: question.sha,
    path: question.path,
    shas: [
      ...new Set([
        question.sha,
        ...(question.previous === undefined ? [] : [question.previous]),
        ...commits.map((commit) => commit.sha),
      ]),
    ],
  }));
  if (rows.length === 0) return;
  await client.query(
    `insert into commit_ranges as r (id, repository, repo, previous_sha, sha, path, shas)
     select id, repository, repo, previous_sha, sha, path, shas
       from jsonb_to_recordset($1::jsonb) as t (id bigint, repository text, repo text, previous_sha text, sha text, path text, shas text[])
     on conflict (id) do update set repo = excluded.repo, shas = excluded.shas
      where r.shas <> excluded.shas or r.repo is distinct from excluded.repo`,
    [JSON.stringify(rows)],
  );
}
