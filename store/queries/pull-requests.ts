import type { ClientBase, Pool } from 'pg';
import type { MergeMethod, Person, PullRequest, Review, ReviewState } from '../../core/approval/facts.js';
import { micros } from '../facts/person.js';

type Db = Pool | ClientBase;

export interface PullRequestKey {
  repo_id: number;
  number: number;
}

interface PullRequestRow {
  repo_id: number;
  repo: string;
  number: number;
  title: string;
  url: string;
  state: PullRequest['state'];
  author: Person;
  last_pusher: Person | null;
  last_pushed_at: string | null;
  base_ref: string;
  head_sha: string;
  created_at: string;
  merged_at: string | null;
  merged_by: Person | null;
  merge_sha: string | null;
  merge_method: MergeMethod | null;
  required_approvals: number | null;
  commits: Array<{ sha: string; author: Person; committer: Person; co_authors: Person[] }> | null;
  reviews: ReviewRow[] | null;
  bypass: { actor: Person; at: string; rule: string } | null;
}

interface ReviewRow {
  review_id: string;
  reviewer: Person;
  state: ReviewState;
  submitted_at: string;
  sha: string | null;
  dismissed_at: string | null;
  dismissed_by: Person | null;
  permission: NonNullable<Review['permission']> | null;
  permission_seen_at: string | null;
  counted: boolean | null;
}

/** Pull requests by `repo_id number`, in one query. A bypass is the one of its merge. */
export async function findPullRequestsByKey(
  db: Db,
  keys: readonly PullRequestKey[],
): Promise<Map<string, PullRequest>> {
  const found = new Map<string, PullRequest>();
  if (keys.length === 0) return found;
  const { rows } = await db.query<PullRequestRow>(
    `with asked as (
       select distinct repo_id, number from unnest($1::integer[], $2::integer[]) as k (repo_id, number))
     select p.repo_id, coalesce(r.name, '') as repo, p.number, p.title, p.url, p.state, p.author, p.last_pusher,
            p.last_pushed_at, p.base_ref, p.head_sha, p.created_at, p.merged_at, p.merged_by, p.merge_sha,
            p.merge_method, p.required_approvals, c.commits, v.reviews, b.bypass
       from asked a
       join pull_requests p on p.repo_id = a.repo_id and p.number = a.number
       left join repos r on r.id = p.repo_id
       left join lateral (
         select json_agg(json_build_object('sha', sha, 'author', author, 'committer', committer, 'co_authors', co_authors)
                         order by position) as commits
           from pull_request_commits where repo_id = a.repo_id and number = a.number and not landed) c on true
       left join lateral (
         select json_agg(json_build_object('review_id', review_id, 'reviewer', reviewer, 'state', state,
                  'submitted_at', submitted_at, 'sha', sha, 'dismissed_at', dismissed_at, 'dismissed_by', dismissed_by,
                  'permission', permission, 'permission_seen_at', permission_seen_at, 'counted', counted)
                  order by submitted_at, review_id) as reviews
           from reviews where repo_id = a.repo_id and number = a.number) v on true
       left join lateral (
         select json_build_object('actor', actor, 'at', bypassed_at, 'rule', rule) as bypass
           from bypasses where repo_id = a.repo_id and p.merge_sha is not null and shas @> array[p.merge_sha]
          order by bypassed_at limit 1) b on true`,
    [keys.map((key) => key.repo_id), keys.map((key) => key.number)],
  );
  for (const row of rows) found.set(`${row.repo_id} ${row.number}`, pullRequest(row));
  return found;
}

function pullRequest(row: PullRequestRow): PullRequest {
  return {
    repo: row.repo,
    number: row.number,
    title: row.title,
    url: row.url,
    state: row.state,
    author: row.author,
    ...(row.last_pusher !== null && { lastPusher: row.last_pusher }),
    ...(row.last_pushed_at !== null && { lastPushedAt: micros(row.last_pushed_at) }),
    baseRef: row.base_ref,
    headSha: row.head_sha,
    commits: (row.commits ?? []).map(({ sha, author, committer, co_authors }) => ({
      sha,
      author,
      committer,
      ...(co_authors.length > 0 && { coAuthors: co_authors }),
    })),
    createdAt: micros(row.created_at),
    ...(row.merged_at !== null && { mergedAt: micros(row.merged_at) }),
    ...(row.merged_by !== null && { mergedBy: row.merged_by }),
    ...(row.merge_sha !== null && { mergeSha: row.merge_sha }),
    ...(row.merge_method !== null && { mergeMethod: row.merge_method }),
    ...(row.required_approvals !== null && { requiredApprovals: row.required_approvals }),
    reviews: (row.reviews ?? []).map(review),
    ...(row.bypass !== null && {
      bypass: { actor: row.bypass.actor, at: micros(row.bypass.at), rule: row.bypass.rule },
    }),
  };
}

function review(row: ReviewRow): Review {
  return {
    id: row.review_id,
    reviewer: row.reviewer,
    state: row.state,
    submittedAt: micros(row.submitted_at),
    ...(row.sha !== null && { sha: row.sha }),
    ...(row.dismissed_at !== null && { dismissedAt: micros(row.dismissed_at) }),
    ...(row.dismissed_by !== null && { dismissedBy: row.dismissed_by }),
    ...(row.permission !== null && { permission: row.permission }),
    ...(row.permission_seen_at !== null && { permissionSeenAt: micros(row.permission_seen_at) }),
    ...(row.counted !== null && { counted: row.counted }),
  };
}

/** One pull request, with when its facts were fetched (RFC 3339). */
export async function findPullRequest(
  db: Db,
  repo: string,
  number: number,
): Promise<{ pullRequest: PullRequest; syncedAt: string } | undefined> {
  const { rows } = await db.query<{ repo_id: number; synced_at: string }>(
    `select p.repo_id, p.synced_at from pull_requests p join repos r on r.id = p.repo_id
      where r.name = $1 and p.number = $2`,
    [repo, number],
  );
  const row = rows[0];
  if (!row) return undefined;
  const found = await findPullRequestsByKey(db, [{ repo_id: row.repo_id, number }]);
  return { pullRequest: found.get(`${row.repo_id} ${number}`)!, syncedAt: row.synced_at };
}
