import type { ClientBase, Pool } from 'pg';
import type { Person, Signature } from '../core/approval/facts.js';
import { CopyRows, copyRows } from './copy.js';

/** A commit as it is indexed; times in microseconds. */
export interface NewCommit {
  sha: string;
  tree: string;
  parents: readonly string[];
  author: { name: string; email: string };
  authoredAt: number;
  committer: { name: string; email: string };
  committedAt: number;
  coAuthors: readonly Person[];
  trailers: ReadonlyArray<readonly [string, string]>;
  signature: Signature;
  signer: string | undefined;
  subject: string;
  message: string;
  changedPaths: readonly string[];
}

const COMMIT_COLUMNS = [
  'repo_id',
  'sha',
  'tree',
  'parents',
  'author_name',
  'author_email',
  'authored_at',
  'committer_name',
  'committer_email',
  'committed_at',
  'co_authors',
  'trailers',
  'signature',
  'signer',
  'subject',
  'message',
  'changed_paths',
  'indexed_at',
] as const;

/** Which of these commits are indexed already. */
export async function findIndexed(
  client: ClientBase,
  repoID: number,
  shas: readonly string[],
): Promise<Set<string>> {
  const { rows } = await client.query<{ sha: string }>(
    'select sha from commits where repo_id = $1 and sha = any($2::text[])',
    [repoID, shas],
  );
  return new Set(rows.map((row) => row.sha));
}

/**
 * Appends commits, parents before children, with the paths they changed. The caller's transaction makes them one.
 * @param indexedAt in microseconds
 */
export async function appendCommits(
  client: ClientBase,
  repoID: number,
  commits: readonly NewCommit[],
  indexedAt: number,
): Promise<void> {
  const rows = new CopyRows();
  const paths = new CopyRows();
  for (const commit of commits) {
    rows.row(COMMIT_COLUMNS.length);
    rows.int4(repoID);
    rows.text(commit.sha);
    rows.text(commit.tree);
    rows.textArray(commit.parents);
    rows.text(commit.author.name);
    rows.text(commit.author.email);
    rows.time(commit.authoredAt);
    rows.text(commit.committer.name);
    rows.text(commit.committer.email);
    rows.time(commit.committedAt);
    rows.jsonb(commit.coAuthors.length > 0 ? commit.coAuthors : undefined);
    rows.jsonb(commit.trailers.length > 0 ? commit.trailers : undefined);
    rows.text(commit.signature);
    rows.text(commit.signer);
    rows.text(commit.subject);
    rows.text(commit.message);
    rows.textArray(commit.changedPaths);
    rows.time(indexedAt);
    for (const path of commit.changedPaths) {
      paths.row(3);
      paths.int4(repoID);
      paths.text(path);
      paths.text(commit.sha);
    }
  }
  await copyRows(client, 'commits', COMMIT_COLUMNS, rows);
  await copyRows(client, 'commit_paths', ['repo_id', 'path', 'sha'], paths);
}

/** The commits that carry a signature. */
export async function findSigned(client: ClientBase, repoID: number): Promise<string[]> {
  const { rows } = await client.query<{ sha: string }>(
    `select sha from commits where repo_id = $1 and signature <> 'none' order by seq`,
    [repoID],
  );
  return rows.map((row) => row.sha);
}

/** Writes what verifying signatures again gave. @returns how many have another result than before */
export async function updateSignatures(
  client: ClientBase,
  repoID: number,
  verified: ReadonlyArray<{ sha: string; signature: Signature; signer: string | undefined }>,
): Promise<number> {
  const { rowCount } = await client.query(
    `update commits c set signature = v.signature, signer = v.signer
       from unnest($2::text[], $3::text[], $4::text[]) as v (sha, signature, signer)
      where c.repo_id = $1 and c.sha = v.sha and (c.signature, c.signer) is distinct from (v.signature, v.signer)`,
    [
      repoID,
      verified.map((item) => item.sha),
      verified.map((item) => item.signature),
      verified.map((item) => item.signer ?? null),
    ],
  );
  return rowCount ?? 0;
}

/** A repository's commits and their parents, in the order of indexing, after `seq`: what a CommitGraph is made of. */
export async function findParents(
  db: Pool | ClientBase,
  repoID: number,
  seq = '0',
): Promise<Array<{ sha: string; parents: string[]; seq: string }>> {
  const { rows } = await db.query<{ sha: string; parents: string[]; seq: string }>(
    'select sha, parents, seq from commits where repo_id = $1 and seq > $2 order by seq',
    [repoID, seq],
  );
  return rows;
}
