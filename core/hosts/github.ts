import type { Person, PullRequest, Review, ReviewState } from '../approval/facts.js';
import { coAuthorsOf, readTrailers } from '../git/trailers.js';
import { parseMicros } from '../timestamp.js';

/** What is read of GitHub's answers and payloads (REST, API version 2022-11-28); they hold much more. */

export interface GithubUser {
  login: string;
  type?: string;
}

export interface GithubPull {
  number: number;
  state: string;
  title: string;
  html_url: string;
  user: GithubUser | null;
  created_at: string;
  updated_at: string;
  merged_at?: string | null;
  merged_by?: GithubUser | null;
  merge_commit_sha?: string | null;
  head: { ref: string; sha: string; repo?: { full_name: string } | null };
  base: { ref: string };
  commits?: number;
}

export interface GithubReview {
  id: number;
  user: GithubUser | null;
  state: string;
  commit_id: string | null;
  submitted_at?: string | null;
}

export interface GithubDismissal {
  event?: string;
  actor?: GithubUser | null;
  created_at?: string;
  dismissed_review?: { state: string; review_id: number };
}

export interface GithubCommit {
  sha: string;
  commit: {
    author: { name?: string; email?: string } | null;
    committer: { name?: string; email?: string } | null;
    message: string;
  };
  author: GithubUser | Record<string, never> | null;
  committer: GithubUser | Record<string, never> | null;
  parents?: Array<{ sha: string }>;
}

export type PullRequestCommit = PullRequest['commits'][number];

/** GitHub shows the work of deleted accounts as this one's. */
const GHOST: Person = { login: 'ghost' };
/** The committer of merges and edits made on GitHub's pages. */
const WEB_FLOW = 'web-flow';

/** Commits looked at behind a merge, at most. */
export const GITHUB_TRAIL = 100;

export function githubPerson(user: GithubUser | null | undefined): Person {
  if (!user?.login) return GHOST;
  const kind = user.type === 'Bot' ? 'bot' : user.type === 'User' ? 'human' : undefined;
  return { login: user.login, ...(kind && { kind }) };
}

/** A person of a commit: what git says, with the account that GitHub found for the address. */
export function githubCommitPerson(
  git: { name?: string; email?: string } | null,
  user: GithubUser | Record<string, never> | null,
): Person {
  return {
    ...(git?.name !== undefined && { name: git.name }),
    ...(git?.email !== undefined && { email: git.email }),
    ...(user?.login !== undefined && githubPerson(user as GithubUser)),
  };
}

export function githubCommit(item: GithubCommit): PullRequestCommit {
  const coAuthors = coAuthorsOf(readTrailers(item.commit.message));
  return {
    sha: item.sha,
    author: githubCommitPerson(item.commit.author, item.author),
    committer: githubCommitPerson(item.commit.committer, item.committer),
    ...(coAuthors.length > 0 && { coAuthors }),
  };
}

const STATES: Record<string, ReviewState> = {
  approved: 'approved',
  changes_requested: 'changes_requested',
  commented: 'commented',
};

/** REST answers write states in upper case, webhooks and timelines in lower. */
function reviewState(state: string): ReviewState {
  return STATES[state.toLowerCase()] ?? 'unknown';
}

/**
 * Reviews as they were given. A dismissed one's list entry has lost its state; the timeline's `review_dismissed` tells
 * what it was, when and by whom. One that isn't submitted yet is nobody's business.
 */
export function githubReviews(
  reviews: readonly GithubReview[],
  timeline: readonly GithubDismissal[],
): Review[] {
  const dismissals = new Map<number, GithubDismissal>();
  for (const event of timeline)
    if (event.event === 'review_dismissed' && event.dismissed_review)
      dismissals.set(event.dismissed_review.review_id, event);
  const decoded: Review[] = [];
  for (const review of reviews) {
    const submittedAt = parseMicros(review.submitted_at);
    if (submittedAt === undefined || review.state.toLowerCase() === 'pending') continue;
    const dismissal = dismissals.get(review.id);
    const dismissedAt = parseMicros(dismissal?.created_at);
    decoded.push({
      id: String(review.id),
      reviewer: githubPerson(review.user),
      state: reviewState(dismissal?.dismissed_review?.state ?? review.state),
      submittedAt,
      ...(review.commit_id && { sha: review.commit_id }),
      ...(dismissal &&
        dismissedAt !== undefined && { dismissedAt, dismissedBy: githubPerson(dismissal.actor) }),
    });
  }
  return decoded;
}

/** A pull request without what other answers tell: commits, reviews, pusher. A payload without times gives undefined. */
export function githubPull(
  pull: GithubPull,
): { head: Omit<PullRequest, 'repo'>; updatedAt: number } | undefined {
  const createdAt = parseMicros(pull.created_at);
  const updatedAt = parseMicros(pull.updated_at);
  if (createdAt === undefined || updatedAt === undefined) return undefined;
  const mergedAt = parseMicros(pull.merged_at);
  const merged = mergedAt !== undefined;
  return {
    updatedAt,
    head: {
      number: pull.number,
      title: pull.title,
      url: pull.html_url,
      state: merged ? 'merged' : pull.state === 'closed' ? 'closed' : 'open',
      author: githubPerson(pull.user),
      baseRef: pull.base.ref,
      headSha: pull.head.sha,
      commits: [],
      createdAt,
      reviews: [],
      ...(merged && { mergedAt }),
      ...(merged && pull.merged_by && { mergedBy: githubPerson(pull.merged_by) }),
      // Of one that isn't merged this is a trial merge, on no branch.
      ...(merged && pull.merge_commit_sha && { mergeSha: pull.merge_commit_sha }),
    },
  };
}

/**
 * How a pull request was merged, and what became of its commits, which GitHub doesn't say. `trail`: commits of the base
 * branch from the merge commit back, at least as many as the pull request has where there are so many.
 */
export function githubLanding(
  pull: { headSha: string; mergeSha: string },
  commits: readonly GithubCommit[],
  trail: readonly GithubCommit[],
  queued: boolean,
): { method: PullRequest['mergeMethod']; landed: PullRequestCommit[] } {
  const merge = trail[0];
  if (pull.mergeSha === pull.headSha) return { method: 'fast_forward', landed: [] };
  if (merge?.sha !== pull.mergeSha || !merge.parents)
    return { method: queued ? 'queue' : undefined, landed: [] };
  const landing = landingOf(merge, commits, trail);
  return { method: queued ? 'queue' : landing.method, landed: landing.landed.map(githubCommit) };
}

function landingOf(
  merge: GithubCommit,
  commits: readonly GithubCommit[],
  trail: readonly GithubCommit[],
): { method: PullRequest['mergeMethod']; landed: GithubCommit[] } {
  if (merge.parents!.length > 1) return { method: 'merge', landed: [merge] };
  // Not enough of the branch is seen to tell a rebase; a shorter trail ends at the branch's first commit.
  if (trail.length < commits.length && trail.length >= GITHUB_TRAIL)
    return { method: undefined, landed: [merge] };
  const tail = trail.slice(0, commits.length).reverse();
  const same =
    tail.length === commits.length &&
    tail.every((one, i) => one.commit.message === commits[i]!.commit.message);
  // A rebase makes the person who merges the committer; a squash GitHub itself.
  const byGithub = merge.committer?.login === WEB_FLOW;
  if (same && (commits.length > 1 || !byGithub)) return { method: 'rebase', landed: tail };
  return { method: 'squash', landed: [merge] };
}

/** The permission by its finer name, where there is one: the coarse word calls `maintain` write, and `triage` read. */
export function githubPermission(answer: { permission: string; role_name?: string }) {
  const words = ['admin', 'maintain', 'write', 'triage', 'read', 'none'] as const;
  // Custom roles have names of their own; their base shows in the coarse word.
  return words.find((word) => word === answer.role_name) ?? words.find((word) => word === answer.permission);
}
