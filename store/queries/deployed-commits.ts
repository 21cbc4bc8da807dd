import type { ClientBase, Pool } from 'pg';
import { WhochangedError } from '../../core/errors.js';

/** Commits as changes know them. */
export interface DeployedCommits {
  /** Asked for by themselves, so that links tell of them before there is a verdict. */
  shas: string[];
  /** The ranges of commits (`commit_ranges`) that deployed any of them. */
  rangeIDs: string[];
}

const SHA = /^[0-9a-f]{7,64}$/;
const PULL_REQUEST = /^(?:([a-z0-9._/-]+))?#?(\d{1,9})$/i;

/**
 * Looks up commits by whole or shortened SHA (7 digits or more), and pull requests as `#7`, `7` or `repo#7`.
 * @throws WhochangedError `invalid_request` for what is neither
 */
export async function findDeployedCommits(
  db: Pick<Pool | ClientBase, 'query'>,
  commits: readonly string[],
  pullRequests: readonly string[],
): Promise<DeployedCommits> {
  const shas: string[] = [];
  for (const commit of commits) {
    if (!SHA.test(commit))
      throw new WhochangedError('invalid_request', `commit: "${commit.slice(0, 70)}" is no SHA`, {
        hint: 'write at least its first 7 hexadecimal digits, in lower case',
      });
    shas.push(...(commit.length === 40 || commit.length === 64 ? [commit] : await findWhole(db, commit)));
  }
  // Forks have commits in common: a pull request's are meant in its own repository.
  const asked = shas.map((sha): CommitOf => ({ repo: null, sha }));
  for (const pullRequest of pullRequests) asked.push(...(await findCommitsOf(db, pullRequest)));
  const { rows } = await db.query<{ id: string }>(
    // The commit that was deployed before stands in the range too, and isn't deployed by it.
    `select distinct r.id from commit_ranges r
       join unnest($1::text[], $2::text[]) as q (sha, repo)
         on r.shas @> array[q.sha] and q.sha is distinct from r.previous_sha and (q.repo is null or r.repo = q.repo)`,
    [asked.map(({ sha }) => sha), asked.map(({ repo }) => repo)],
  );
  return { shas, rangeIDs: rows.map((row) => row.id) };
}

interface CommitOf {
  repo: string | null;
  sha: string;
}

async function findWhole(db: Pick<Pool | ClientBase, 'query'>, prefix: string): Promise<string[]> {
  const mirrored = await db.query<{ sha: string }>(
    `select distinct c.sha from repos r join commits c on c.repo_id = r.id and c.sha >= $1 and c.sha < $1 || 'g'`,
    [prefix],
  );
  if (mirrored.rows.length > 0) return mirrored.rows.map((row) => row.sha);
  // Of repositories without a mirror there is no index of commits.
  const { rows } = await db.query<{ sha: string }>(
    'select distinct s as sha from commit_ranges r, unnest(r.shas) s where starts_with(s, $1)',
    [prefix],
  );
  return rows.map((row) => row.sha);
}

async function findCommitsOf(db: Pick<Pool | ClientBase, 'query'>, text: string): Promise<CommitOf[]> {
  const [, repo, number] = PULL_REQUEST.exec(text) ?? [];
  if (number === undefined)
    throw new WhochangedError('invalid_request', `pr: "${text.slice(0, 70)}" is no pull request`, {
      hint: 'write 7, or repo#7 with the name that the repository has here or on its host',
    });
  const { rows } = await db.query<CommitOf>(
    `with p as (
       select p.repo_id, r.name as repo, p.number, p.merge_sha from pull_requests p join repos r on r.id = p.repo_id
        where p.number = $2 and ($1::text is null or r.name = lower($1) or lower(r.project) = lower($1)))
     select repo, merge_sha as sha from p where merge_sha is not null
     union
     select p.repo, c.sha from p join pull_request_commits c on c.repo_id = p.repo_id and c.number = p.number`,
    [repo ?? null, number],
  );
  return rows;
}
