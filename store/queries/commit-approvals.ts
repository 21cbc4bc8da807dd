import type { ClientBase, Pool } from 'pg';
import type { CommitFacts, ImportedApproval, Person, PullRequest } from '../../core/approval/facts.js';
import { micros } from '../facts/person.js';
import { findPullRequestsByKey, type PullRequestKey } from './pull-requests.js';

type Db = Pool | ClientBase;

/** A commit asked about: the repository's name in whochanged, and the whole SHA. */
export interface CommitKey {
  repo: string;
  sha: string;
}

/** What CommitFacts is made of, apart from what the mirror knows: the commit itself and equivalences. */
export interface CommitApprovals {
  pullRequests: PullRequest[];
  bypass?: NonNullable<CommitFacts['bypass']>;
  approvals: ImportedApproval[];
  hostSyncedAt?: number;
}

/** The key of a commit in the maps of this file. */
export function commitKey({ repo, sha }: CommitKey): string {
  return `${repo} ${sha}`;
}

/**
 * What hosts and other systems said of commits, for thousands at once: a handful of queries, however many. Pull
 * requests count that hold the commit or became it, on whatever branch and in whatever state: their baseRef and state
 * say which. Every key has an entry.
 */
export async function findCommitApprovals(
  db: Db,
  keys: readonly CommitKey[],
): Promise<Map<string, CommitApprovals>> {
  const found = new Map<string, CommitApprovals>();
  for (const key of keys) found.set(commitKey(key), { pullRequests: [], approvals: [] });
  if (keys.length === 0) return found;
  const repos = keys.map((key) => key.repo);
  const shas = keys.map((key) => key.sha);

  const synced = await db.query<{ name: string; synced_at: string }>(
    'select name, synced_at from repos where name = any($1::text[]) and synced_at is not null',
    [[...new Set(repos)]],
  );
  const syncedAt = new Map(synced.rows.map((row) => [row.name, micros(row.synced_at)]));
  for (const key of keys) {
    const at = syncedAt.get(key.repo);
    if (at !== undefined) found.get(commitKey(key))!.hostSyncedAt = at;
  }

  const links = await db.query<{ repo: string; sha: string; repo_id: number; number: number }>(
    `with asked as (
       select distinct r.id as repo_id, r.name as repo, k.sha
         from unnest($1::text[], $2::text[]) as k (repo, sha) join repos r on r.name = k.repo)
     select a.repo, a.sha, a.repo_id, p.number
       from asked a join pull_requests p on p.repo_id = a.repo_id and p.merge_sha = a.sha
     union
     select a.repo, a.sha, a.repo_id, c.number
       from asked a join pull_request_commits c on c.repo_id = a.repo_id and c.sha = a.sha`,
    [repos, shas],
  );
  const pullRequests = await findPullRequestsByKey(db, links.rows);
  for (const link of links.rows) {
    const pullRequest = pullRequests.get(pullRequestKey(link));
    if (pullRequest) found.get(commitKey(link))!.pullRequests.push(pullRequest);
  }

  const bypasses = await db.query<{ repo: string; sha: string; actor: Person; at: string; rule: string }>(
    `select distinct on (k.repo, k.sha) k.repo, k.sha, b.actor, b.bypassed_at as at, b.rule
       from unnest($1::text[], $2::text[]) as k (repo, sha)
       join repos r on r.name = k.repo
       join bypasses b on b.repo_id = r.id and b.shas @> array[k.sha]
      order by k.repo, k.sha, b.bypassed_at`,
    [repos, shas],
  );
  for (const row of bypasses.rows)
    found.get(commitKey(row))!.bypass = { actor: row.actor, at: micros(row.at), rule: row.rule };

  const approvals = await db.query<ApprovalRow>(
    `select a.* from unnest($1::text[], $2::text[]) as k (repo, sha)
       join imported_approvals a on a.subject_kind = 'commit' and a.subject = k.sha and a.repo = k.repo
      order by a.approved_at`,
    [repos, shas],
  );
  const seen = new Set<string>();
  for (const row of approvals.rows) {
    // A key given twice joins twice.
    const id = `${row.origin} ${row.approval_id}`;
    if (!seen.has(id))
      found.get(commitKey({ repo: row.repo, sha: row.subject }))!.approvals.push(importedApproval(row));
    seen.add(id);
  }
  return found;
}

function pullRequestKey({ repo_id, number }: PullRequestKey): string {
  return `${repo_id} ${number}`;
}

export interface ApprovalRow {
  origin: string;
  approval_id: string;
  subject_kind: ImportedApproval['subject']['kind'];
  repo: string;
  subject: string;
  approver: Person;
  approved_at: string;
  url: string | null;
}

export function importedApproval(row: ApprovalRow): ImportedApproval {
  const subject: ImportedApproval['subject'] =
    row.subject_kind === 'commit'
      ? { kind: 'commit', repo: row.repo, sha: row.subject }
      : row.subject_kind === 'image'
        ? { kind: 'image', digest: row.subject }
        : { kind: 'change', id: row.subject };
  return {
    id: row.approval_id,
    subject,
    approver: row.approver,
    approvedAt: micros(row.approved_at),
    origin: row.origin,
    ...(row.url !== null && { url: row.url }),
  };
}

/** Imported approvals of images (by digest) and changes (by id), in the order that they were given. */
export async function findApprovalsOf(
  db: Db,
  kind: 'image' | 'change',
  subjects: readonly string[],
): Promise<Map<string, ImportedApproval[]>> {
  const { rows } = await db.query<ApprovalRow>(
    'select * from imported_approvals where subject_kind = $1 and subject = any($2::text[]) order by approved_at',
    [kind, subjects],
  );
  const found = new Map<string, ImportedApproval[]>();
  for (const row of rows) {
    const list = found.get(row.subject) ?? [];
    list.push(importedApproval(row));
    found.set(row.subject, list);
  }
  return found;
}
