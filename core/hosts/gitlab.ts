import type { Person, PullRequest, Review } from '../approval/facts.js';
import { coAuthorsOf, readTrailers } from '../git/trailers.js';
import { parseMicros } from '../timestamp.js';

/** What is read of GitLab's answers (REST v4); they hold much more. */

export interface GitlabUser {
  id: number;
  username: string;
  name?: string;
}

export interface GitlabMergeRequest {
  iid: number;
  title: string;
  web_url: string;
  state: string;
  author: GitlabUser | null;
  created_at: string;
  updated_at: string;
  merged_at?: string | null;
  merge_user?: GitlabUser | null;
  /** The old name of merge_user. */
  merged_by?: GitlabUser | null;
  target_branch: string;
  sha: string;
  merge_commit_sha?: string | null;
  squash_commit_sha?: string | null;
}

export interface GitlabNote {
  id: number;
  body: string;
  system: boolean;
  author: GitlabUser | null;
  created_at: string;
}

export interface GitlabApproval {
  user: GitlabUser;
  /** GitLab 18 and later. */
  approved_at?: string | null;
}

export interface GitlabCommit {
  id: string;
  message?: string;
  author_name?: string;
  author_email?: string;
  committer_name?: string;
  committer_email?: string;
}

/** Tokens of projects and groups act as users of such names (docs: "Bot users for projects"). */
const BOT = /^(project|group)_\d+_bot(_[0-9a-f]+)?$|^service_account_/;

export function gitlabPerson(user: GitlabUser | null | undefined): Person {
  if (!user) return { login: 'ghost' };
  return {
    ...(user.name !== undefined && { name: user.name }),
    login: user.username,
    // GitLab doesn't say of others that they are people.
    ...(BOT.test(user.username) && { kind: 'bot' as const }),
  };
}

export function gitlabCommit(commit: GitlabCommit): PullRequest['commits'][number] {
  const coAuthors = coAuthorsOf(readTrailers(commit.message ?? ''));
  const person = (name: string | undefined, email: string | undefined): Person => ({
    ...(name !== undefined && { name }),
    ...(email !== undefined && { email }),
  });
  return {
    sha: commit.id,
    author: person(commit.author_name, commit.author_email),
    committer: person(commit.committer_name, commit.committer_email),
    ...(coAuthors.length > 0 && { coAuthors }),
  };
}

/** What it became on the target branch: a merge commit, a squash, or, by fast-forward, its own head. */
export function gitlabLanding(mr: GitlabMergeRequest): Pick<PullRequest, 'mergeSha' | 'mergeMethod'> & {
  landed: string[];
} {
  if (mr.squash_commit_sha) {
    const landed = [mr.squash_commit_sha, ...(mr.merge_commit_sha ? [mr.merge_commit_sha] : [])];
    return { mergeSha: landed.at(-1)!, mergeMethod: 'squash', landed };
  }
  if (mr.merge_commit_sha)
    return { mergeSha: mr.merge_commit_sha, mergeMethod: 'merge', landed: [mr.merge_commit_sha] };
  return { mergeSha: mr.sha, mergeMethod: 'fast_forward', landed: [] };
}

export function gitlabMergeRequest(
  mr: GitlabMergeRequest,
): { head: Omit<PullRequest, 'repo'>; updatedAt: number } | undefined {
  const createdAt = parseMicros(mr.created_at);
  const updatedAt = parseMicros(mr.updated_at);
  const mergedAt = parseMicros(mr.merged_at);
  if (createdAt === undefined || updatedAt === undefined) return undefined;
  const mergedBy = mr.merge_user ?? mr.merged_by;
  return {
    updatedAt,
    head: {
      number: mr.iid,
      title: mr.title,
      url: mr.web_url,
      state: mergedAt !== undefined ? 'merged' : mr.state === 'closed' ? 'closed' : 'open',
      author: gitlabPerson(mr.author),
      baseRef: mr.target_branch,
      headSha: mr.sha,
      commits: [],
      createdAt,
      reviews: [],
      ...(mergedAt !== undefined && { mergedAt, ...(mergedBy && { mergedBy: gitlabPerson(mergedBy) }) }),
    },
  };
}

const PUSHED = /^added \d+ new commits?|^added \d+ commits?/;
const RESET = /^reset approvals from /;

/** Who pushed last: GitLab writes a system note under the pusher's name for each push but the first. */
export function gitlabLastPusher(
  notes: readonly GitlabNote[],
): { pusher: Person; pushedAt: number } | undefined {
  const last = notes.filter((note) => note.system && PUSHED.test(note.body)).at(-1);
  const pushedAt = parseMicros(last?.created_at);
  return last && pushedAt !== undefined ? { pusher: gitlabPerson(last.author), pushedAt } : undefined;
}

/**
 * Approvals as they were given and taken back. The list of approvals holds only those that stand now; system notes tell
 * when each was given or taken back. One that stands no more, though nobody took it back, was reset by the push after
 * it. `versions`: heads with when each became the head, in any order. What no note tells has the time that it was
 * approved by GitLab's word, or else `seenAt`: it can't have been later.
 */
export function gitlabReviews(
  notes: readonly GitlabNote[],
  approvals: readonly GitlabApproval[],
  versions: ReadonlyArray<{ head_commit_sha: string; created_at: string }>,
  seenAt: number,
): Review[] {
  const heads = versions
    .map((version) => ({ sha: version.head_commit_sha, at: parseMicros(version.created_at) ?? 0 }))
    .sort((a, b) => a.at - b.at);
  const headAt = (time: number) => heads.findLast((head) => head.at <= time)?.sha;
  const standing = new Map(approvals.map((approval) => [approval.user.username, approval]));
  const reviews: Review[] = [];
  const open = new Map<string, Review>();
  const end = (login: string, at: number, by: Person) => {
    const review = open.get(login);
    if (!review) return;
    review.dismissedAt = at;
    review.dismissedBy = by;
    open.delete(login);
  };
  const system = notes.filter((note) => note.system).sort((a, b) => a.created_at.localeCompare(b.created_at));
  for (const [i, note] of system.entries()) {
    const at = parseMicros(note.created_at);
    const login = note.author?.username;
    if (at === undefined || login === undefined) continue;
    if (note.body === 'approved this merge request') {
      const sha = headAt(at);
      const review: Review = {
        id: `note:${note.id}`,
        reviewer: gitlabPerson(note.author),
        state: 'approved',
        submittedAt: at,
        ...(sha !== undefined && { sha }),
      };
      reviews.push(review);
      open.set(login, review);
    } else if (note.body === 'unapproved this merge request') {
      end(login, at, gitlabPerson(note.author));
    } else if (note.body === 'requested changes') {
      reviews.push({
        id: `note:${note.id}`,
        reviewer: gitlabPerson(note.author),
        state: 'changes_requested',
        submittedAt: at,
      });
    } else if (PUSHED.test(note.body) || RESET.test(note.body)) {
      for (const reviewer of [...open.keys()]) {
        // It may have been given anew later; then its own note says so.
        const later = system.slice(i + 1).some((one) => isApproval(one, reviewer));
        if (!standing.has(reviewer) || later) end(reviewer, at, gitlabPerson(note.author));
      }
    }
  }
  for (const [login, { user, approved_at: approvedAt }] of standing) {
    const review = open.get(login);
    if (review) review.counted = true;
    else
      reviews.push({
        id: `approval:${user.id}`,
        reviewer: gitlabPerson(user),
        state: 'approved',
        submittedAt: parseMicros(approvedAt) ?? seenAt,
        counted: true,
      });
  }
  for (const [login, review] of open) if (!standing.has(login)) review.counted = false;
  return reviews;
}

function isApproval(note: GitlabNote, login: string): boolean {
  return note.body === 'approved this merge request' && note.author?.username === login;
}

/** GitLab's access levels (REST, "Members"). */
export function gitlabPermission(accessLevel: number): NonNullable<Review['permission']> {
  if (accessLevel >= 50) return 'admin';
  if (accessLevel >= 40) return 'maintain';
  if (accessLevel >= 30) return 'write';
  if (accessLevel >= 20) return 'triage';
  return accessLevel >= 10 ? 'read' : 'none';
}
