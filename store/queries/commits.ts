import type { ClientBase, Pool } from 'pg';
import type { Commit, Signature } from '../../core/approval/facts.js';
import { micros } from '../facts/person.js';
import { type CommitKey, commitKey } from './commit-approvals.js';

type Db = Pool | ClientBase;

interface CommitRow {
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
  co_authors: Commit['coAuthors'] | null;
  signature: Signature;
  signer: string | null;
  subject: string;
  changed_paths: string[];
}

const COLUMNS = `r.name as repo, c.sha, c.tree, c.parents, c.author_name, c.author_email, c.authored_at, c.committer_name,
  c.committer_email, c.committed_at, c.co_authors, c.signature, c.signer, c.subject, c.changed_paths`;

function commitOf(row: CommitRow): Commit {
  return {
    repo: row.repo,
    sha: row.sha,
    tree: row.tree,
    parents: row.parents,
    author: { name: row.author_name, email: row.author_email },
    authoredAt: micros(row.authored_at),
    committer: { name: row.committer_name, email: row.committer_email },
    committedAt: micros(row.committed_at),
    coAuthors: row.co_authors ?? [],
    signature: row.signature,
    ...(row.signer !== null && { signer: row.signer }),
    subject: row.subject,
    changedPaths: row.changed_paths,
  };
}

/** Indexed commits by commitKey; what isn't indexed has no entry. */
export async function findCommits(db: Db, keys: readonly CommitKey[]): Promise<Map<string, Commit>> {
  if (keys.length === 0) return new Map();
  const { rows } = await db.query<CommitRow>(
    `select distinct on (c.repo_id, c.sha) ${COLUMNS}
       from unnest($1::text[], $2::text[]) as k (repo, sha)
       join repos r on r.name = k.repo
       join commits c on c.repo_id = r.id and c.sha = k.sha`,
    [keys.map((key) => key.repo), keys.map((key) => key.sha)],
  );
  return new Map(rows.map((row) => [commitKey(row), commitOf(row)]));
}

/**
 * Which of these commits touch a path or what is under it, each compared with its first parent.
 * @param shas a range, as CommitGraph.range gives it; the answer keeps its order
 * @param path without `/` at its ends; '' touches all
 */
export async function filterTouching(
  db: Db,
  repoID: number,
  shas: readonly string[],
  path: string,
): Promise<string[]> {
  if (path === '' || shas.length === 0) return [...shas];
  // `0` comes after `/`: everything in the folder lies between.
  const { rows } = await db.query<{ sha: string }>(
    `select k.sha from unnest($2::text[]) with ordinality as k (sha, at)
      where exists (select from commits c cross join unnest(c.changed_paths) as p (path)
                     where c.repo_id = $1 and c.sha = k.sha
                       and (p.path collate "C" = $3 or p.path collate "C" >= $3 || '/' and p.path collate "C" < $3 || '0'))
      order by k.at`,
    [repoID, shas, path],
  );
  return rows.map((row) => row.sha);
}

/** The commits that touch a path or what is under it, the newest indexed first. */
export async function findTouching(db: Db, repoID: number, path: string, limit: number): Promise<string[]> {
  const { rows } = await db.query<{ sha: string }>(
    `select c.sha from (
       select distinct sha from commit_paths
        where repo_id = $1 and (path = $2 or path >= $2 || '/' and path < $2 || '0')) p
       join commits c on c.repo_id = $1 and c.sha = p.sha
      order by c.seq desc limit $3`,
    [repoID, path, limit],
  );
  return rows.map((row) => row.sha);
}

/** A commit with what is known of it beyond the facts, for people. */
export interface CommitDetail {
  commit: Commit;
  message: string;
  trailers: Array<[key: string, value: string]>;
  indexedAt: string;
  /** Branches and tags that point at it, by their whole names. */
  refs: string[];
  /** Updates that brought a branch or tag to it or took one away from it, newest first. */
  refUpdates: Array<{
    name: string;
    kind: string;
    before: string | null;
    after: string | null;
    seenAt: string;
    pushedAt: string | null;
    pushedBy: string | null;
  }>;
}

/**
 * The commits whose id begins so, in any repository or one: more than one may, and a fork has the same.
 * @param sha 4 to 64 hexadecimal digits in lower case
 */
export async function findCommitDetails(
  db: Db,
  sha: string,
  options: { repo: string | undefined; limit: number },
): Promise<CommitDetail[]> {
  const { rows } = await db.query<
    CommitRow & {
      repo_id: number;
      message: string;
      trailers: CommitDetail['trailers'] | null;
      indexed_at: string;
    }
  >(
    `select c.repo_id, c.message, c.trailers, c.indexed_at, ${COLUMNS}
       from commits c join repos r on r.id = c.repo_id
      where c.sha like $1 and ($2::text is null or r.name = $2) order by r.name, c.sha limit $3`,
    [`${sha}%`, options.repo ?? null, options.limit],
  );
  return Promise.all(
    rows.map(async (row) => {
      const refs = await db.query<{ name: string }>(
        'select name from refs where repo_id = $1 and sha = $2 order by name limit 100',
        [row.repo_id, row.sha],
      );
      const updates = await db.query<CommitDetail['refUpdates'][number]>(
        `select name, kind, before_sha as before, after_sha as after, seen_at as "seenAt", pushed_at as "pushedAt",
                pushed_by as "pushedBy"
           from ref_updates where repo_id = $1 and (after_sha = $2 or before_sha = $2) order by id desc limit 20`,
        [row.repo_id, row.sha],
      );
      return {
        commit: commitOf(row),
        message: row.message,
        trailers: row.trailers ?? [],
        indexedAt: row.indexed_at,
        refs: refs.rows.map((ref) => ref.name),
        refUpdates: updates.rows,
      };
    }),
  );
}
