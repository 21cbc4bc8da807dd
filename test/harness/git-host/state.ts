/**
 * What a git host knows, as a scenario declares it. One declaration serves GitHub, GitLab and Gerrit: each face of the
 * host (github.ts, gitlab.ts, gerrit.ts) tells it in its own API's words. Times are RFC 3339; people are logins.
 */

export interface HostUser {
  login: string;
  name?: string;
  email?: string;
  bot?: boolean;
}

export interface HostCommit {
  sha: string;
  parents?: string[];
  message?: string;
  /** A login; its user's name and email go into the commit. */
  author: string;
  committer?: string;
  /** Logins: told as Co-authored-by trailers. */
  coAuthors?: string[];
  at?: string;
}

export interface HostReview {
  reviewer: string;
  state: 'approved' | 'changes_requested' | 'commented';
  at: string;
  /** The head that was reviewed; default: the head at that time, else the last. `null`: the host forgot it. */
  sha?: string | null;
  dismissedAt?: string;
  dismissedBy?: string;
}

export interface HostPush {
  pusher: string;
  /** The branch's new head. */
  sha: string;
  at: string;
  before?: string;
}

export interface HostPullRequest {
  number: number;
  title?: string;
  author: string;
  base?: string;
  /** The branch; default `pr-NUMBER`. */
  headRef?: string;
  /** Oldest first; the last is the head. */
  commits: HostCommit[];
  createdAt: string;
  /** To its branch; who pushed the head last is the last pusher. Default: unknown to the host. */
  pushes?: HostPush[];
  reviews?: HostReview[];
  merged?: {
    at: string;
    by: string;
    /** The commit on the base branch. Default for `merge`, `squash`: `sha` has to be given; `fast_forward`: the head. */
    sha: string;
    method?: 'merge' | 'squash' | 'rebase' | 'queue' | 'fast_forward';
    parents?: string[];
    /** Of a rebase: what the commits became, oldest first; the last is `sha`. */
    landed?: string[];
  };
  closedAt?: string;
  /** Default: the latest time in it. A sync looks again only at what was updated since the last one. */
  updatedAt?: string;
  /** Approvals that a rule of this one asks for, where that differs from the branch's (GitLab). */
  requiredApprovals?: number;
}

/** A push that a rule of the branch would have stopped. */
export interface HostBypass {
  actor: string;
  at: string;
  /** Default: the repository's default branch. */
  branch?: string;
  before: string;
  after: string;
  /** What it brought, oldest first; the last is `after`. Default: only that. */
  shas?: string[];
  /** Rule types, as GitHub names them. */
  rules?: string[];
}

export interface HostEnvironmentReview {
  environment: string;
  reviewer: string;
  state: 'approved' | 'rejected';
  sha: string;
  at: string;
}

export type HostPermission = 'admin' | 'maintain' | 'write' | 'triage' | 'read' | 'none';

export interface HostRepo {
  /** Its path, such as acme/shop. */
  project: string;
  defaultBranch?: string;
  /** By branch. */
  requiredApprovals?: Record<string, number>;
  /** By login; default `write`. */
  permissions?: Record<string, HostPermission>;
  pullRequests?: HostPullRequest[];
  /** Pushes to branches that no pull request names. */
  pushes?: Array<HostPush & { branch: string }>;
  bypasses?: HostBypass[];
  environmentReviews?: HostEnvironmentReview[];
  /** Runs of pipelines, by id. One without `endedAt` goes on. */
  runs?: Record<string, { sha: string; startedAt: string; endedAt?: string }>;
}

export interface HostState {
  /** Those named elsewhere and not here are people called like their login. */
  users?: HostUser[];
  repos: HostRepo[];
}

export interface KnownUser {
  id: number;
  login: string;
  name: string;
  email: string;
  bot: boolean;
}

export function userOf(state: HostState, login: string): KnownUser {
  const user = (state.users ?? []).find((one) => one.login === login);
  return {
    id: idOf(login),
    login,
    name: user?.name ?? login,
    email: user?.email ?? `${login}@example.com`,
    bot: user?.bot ?? login.endsWith('[bot]'),
  };
}

/** A number that is always the same for the same text. */
export function idOf(text: string): number {
  let hash = 7;
  for (const char of text) hash = (hash * 31 + char.charCodeAt(0)) % 1_000_000_007;
  return hash;
}

export function headOf(pr: HostPullRequest): string {
  return pr.commits.at(-1)!.sha;
}

/** The head of a pull request's branch at a time, where its pushes tell. */
export function headAt(pr: HostPullRequest, at: string): string {
  const before = (pr.pushes ?? []).filter((push) => Date.parse(push.at) <= Date.parse(at));
  return before.at(-1)?.sha ?? headOf(pr);
}

export function reviewedSha(pr: HostPullRequest, review: HostReview): string | null {
  return review.sha === undefined ? headAt(pr, review.at) : review.sha;
}

export function headRefOf(pr: HostPullRequest): string {
  return pr.headRef ?? `pr-${pr.number}`;
}

export function branchOf(repo: HostRepo): string {
  return repo.defaultBranch ?? 'main';
}

export function baseOf(repo: HostRepo, pr: HostPullRequest): string {
  return pr.base ?? branchOf(repo);
}

export function updatedAt(pr: HostPullRequest): string {
  if (pr.updatedAt !== undefined) return pr.updatedAt;
  const times = [
    pr.createdAt,
    ...(pr.pushes ?? []).map((push) => push.at),
    ...(pr.reviews ?? []).flatMap((review) => [review.at, review.dismissedAt ?? review.at]),
    ...(pr.merged ? [pr.merged.at] : []),
    ...(pr.closedAt ? [pr.closedAt] : []),
  ];
  return times.reduce((a, b) => (Date.parse(a) >= Date.parse(b) ? a : b));
}

export function messageOf(state: HostState, commit: HostCommit): string {
  const trailers = (commit.coAuthors ?? []).map((login) => {
    const user = userOf(state, login);
    return `Co-authored-by: ${user.name} <${user.email}>`;
  });
  const message = commit.message ?? `Change ${commit.sha.slice(0, 7)}`;
  return trailers.length === 0 ? message : `${message}\n\n${trailers.join('\n')}`;
}
