import type { ClientBase } from 'pg';
import type { PullRequest, Review } from '../../core/approval/facts.js';
import { personRow, timeRow } from './person.js';

/** A pull request as a host told it, with what only the store needs to know. */
export interface ToldPullRequest {
  pullRequest: Omit<PullRequest, 'repo'>;
  /** Microseconds: when the host last changed it. */
  updatedAt: number;
  /** The commits that it became on the base branch, oldest first; of a merge that keeps its commits only the merge. */
  landed: PullRequest['commits'];
  /** False for a payload that holds no list of commits: those known stay. */
  commitsTold: boolean;
}

/**
 * Writes pull requests of one repository with their commits and reviews, in one statement per table. What was true at
 * its time stays: the state that a review was given, its first dismissal, the permission that was seen first, and of
 * a merged pull request how many approvals were asked for. Call it within a transaction.
 */
export async function upsertPullRequests(
  client: ClientBase,
  repoID: number,
  told: readonly ToldPullRequest[],
  syncedAt: Date,
): Promise<void> {
  if (told.length === 0) return;
  await upsertHeads(client, repoID, told, syncedAt);
  await replaceCommits(client, repoID, told);
  const reviews = told.flatMap(({ pullRequest }) =>
    pullRequest.reviews.map((review) => ({ number: pullRequest.number, review })),
  );
  await upsertReviews(client, repoID, reviews, syncedAt);
}

async function upsertHeads(
  client: ClientBase,
  repoID: number,
  told: readonly ToldPullRequest[],
  syncedAt: Date,
): Promise<void> {
  const rows = told.map(({ pullRequest: pr, updatedAt }) => ({
    number: pr.number,
    title: pr.title,
    url: pr.url,
    state: pr.state,
    author: personRow(pr.author),
    last_pusher: pr.lastPusher === undefined ? null : personRow(pr.lastPusher),
    last_pushed_at: timeRow(pr.lastPushedAt),
    base_ref: pr.baseRef,
    head_sha: pr.headSha,
    created_at: timeRow(pr.createdAt),
    updated_at: timeRow(updatedAt),
    merged_at: timeRow(pr.mergedAt),
    merged_by: pr.mergedBy === undefined ? null : personRow(pr.mergedBy),
    merge_sha: pr.mergeSha ?? null,
    merge_method: pr.mergeMethod ?? null,
    required_approvals: pr.requiredApprovals ?? null,
  }));
  await client.query(
    `insert into pull_requests as p (repo_id, number, title, url, state, author, last_pusher, last_pushed_at, base_ref,
            head_sha, created_at, updated_at, merged_at, merged_by, merge_sha, merge_method, required_approvals,
            required_seen_at, synced_at)
     select $1, number, title, url, state, author, last_pusher, last_pushed_at, base_ref, head_sha,
            created_at, updated_at, merged_at, merged_by, merge_sha, merge_method, required_approvals,
            case when required_approvals is not null then $3::timestamptz end, $3
       from jsonb_to_recordset($2::jsonb) as r (number integer, title text, url text, state text, author jsonb,
            last_pusher jsonb, last_pushed_at timestamptz, base_ref text, head_sha text, created_at timestamptz,
            updated_at timestamptz, merged_at timestamptz, merged_by jsonb, merge_sha text, merge_method text,
            required_approvals integer)
     on conflict (repo_id, number) do update set
       title = excluded.title, url = excluded.url, state = excluded.state, author = excluded.author,
       last_pusher = case when excluded.head_sha = p.head_sha
                          then coalesce(excluded.last_pusher, p.last_pusher) else excluded.last_pusher end,
       last_pushed_at = case when excluded.head_sha = p.head_sha
                             then coalesce(excluded.last_pushed_at, p.last_pushed_at) else excluded.last_pushed_at end,
       base_ref = excluded.base_ref, head_sha = excluded.head_sha, updated_at = excluded.updated_at,
       merged_at = coalesce(p.merged_at, excluded.merged_at), merged_by = coalesce(excluded.merged_by, p.merged_by),
       merge_sha = coalesce(excluded.merge_sha, p.merge_sha),
       merge_method = coalesce(excluded.merge_method, p.merge_method),
       required_approvals = case when p.merged_at is null then coalesce(excluded.required_approvals, p.required_approvals)
                                 else coalesce(p.required_approvals, excluded.required_approvals) end,
       required_seen_at = case when p.merged_at is null then coalesce(excluded.required_seen_at, p.required_seen_at)
                               else coalesce(p.required_seen_at, excluded.required_seen_at) end,
       synced_at = excluded.synced_at
     where excluded.updated_at >= p.updated_at`,
    [repoID, JSON.stringify(rows), syncedAt],
  );
}

async function replaceCommits(
  client: ClientBase,
  repoID: number,
  told: readonly ToldPullRequest[],
): Promise<void> {
  const complete = told.filter((one) => one.commitsTold);
  if (complete.length === 0) return;
  const numbers = complete.map((one) => one.pullRequest.number);
  await client.query('delete from pull_request_commits where repo_id = $1 and number = any($2::integer[])', [
    repoID,
    numbers,
  ]);
  const rows = complete.flatMap(({ pullRequest, landed }) =>
    [
      { commits: pullRequest.commits, landed: false },
      { commits: landed, landed: true },
    ].flatMap((list) =>
      list.commits.map((commit, position) => ({
        number: pullRequest.number,
        position,
        sha: commit.sha,
        landed: list.landed,
        author: personRow(commit.author),
        committer: personRow(commit.committer),
        co_authors: (commit.coAuthors ?? []).map(personRow),
      })),
    ),
  );
  await client.query(
    `insert into pull_request_commits (repo_id, number, position, sha, landed, author, committer, co_authors)
     select $1, number, position, sha, landed, author, committer, co_authors
       from jsonb_to_recordset($2::jsonb) as r (number integer, position integer, sha text, landed boolean,
            author jsonb, committer jsonb, co_authors jsonb)`,
    [repoID, JSON.stringify(rows)],
  );
}

/** Writes reviews of one repository; see upsertPullRequests. */
export async function upsertReviews(
  client: ClientBase,
  repoID: number,
  reviews: ReadonlyArray<{ number: number; review: Review }>,
  seenAt: Date,
): Promise<void> {
  if (reviews.length === 0) return;
  const rows = reviews.map(({ number, review }) => ({
    number,
    review_id: review.id,
    reviewer: personRow(review.reviewer),
    state: review.state,
    submitted_at: timeRow(review.submittedAt),
    sha: review.sha ?? null,
    dismissed_at: timeRow(review.dismissedAt),
    dismissed_by: review.dismissedBy === undefined ? null : personRow(review.dismissedBy),
    permission: review.permission ?? null,
    permission_seen_at: timeRow(review.permissionSeenAt),
    counted: review.counted ?? null,
  }));
  await client.query(
    `insert into reviews as v (repo_id, number, review_id, reviewer, state, submitted_at, sha, dismissed_at,
            dismissed_by, permission, permission_seen_at, counted, first_seen_at)
     select $1, number, review_id, reviewer, state, submitted_at, sha, dismissed_at, dismissed_by,
            permission, permission_seen_at, counted, $3
       from jsonb_to_recordset($2::jsonb) as r (number integer, review_id text, reviewer jsonb, state text,
            submitted_at timestamptz, sha text, dismissed_at timestamptz, dismissed_by jsonb, permission text,
            permission_seen_at timestamptz, counted boolean)
     on conflict (repo_id, number, review_id) do update set
       state = case when v.state = 'unknown' then excluded.state else v.state end,
       sha = coalesce(v.sha, excluded.sha),
       dismissed_at = least(v.dismissed_at, excluded.dismissed_at),
       dismissed_by = coalesce(v.dismissed_by, excluded.dismissed_by),
       permission = coalesce(v.permission, excluded.permission),
       permission_seen_at = coalesce(v.permission_seen_at, excluded.permission_seen_at),
       counted = coalesce(excluded.counted, v.counted)`,
    [repoID, JSON.stringify(rows), seenAt],
  );
}
