export const UNAPPROVED_REASONS = [
  'no_pr',
  'stale',
  'bypass',
  'insufficient',
  'unauthorised',
  'content_mismatch',
  'expired_window',
] as const;
/**
 * Why a commit, or a change, is unapproved.
 *
 * - `no_pr`: no pull request brought it to its branch
 * - `stale`: what was approved is not the final head
 * - `bypass`: a rule of the branch was bypassed
 * - `insufficient`: too few approvals that count, at the time
 * - `unauthorised`: who approved was not allowed to
 * - `content_mismatch`: what was merged, or written, is not what was approved
 * - `expired_window`: outside the change window, or that of its ticket
 */
export type UnapprovedReason = (typeof UNAPPROVED_REASONS)[number];

export type ApprovalState = 'approved' | 'self_approved' | 'after_the_fact' | 'unapproved' | 'unknown';

/** One fact that a judgement rests on, for a person to read and for a later check. */
export interface Evidence {
  /** commit, pull_request, review, approval, sync, change, ticket, ... */
  kind: string;
  /** What it is about: a SHA, a URL, a change's id. */
  ref: string;
  detail: string;
}

/** How one commit stands. */
export interface CommitApproval {
  repo: string;
  sha: string;
  state: ApprovalState;
  reason?: UnapprovedReason;
  /** Why unknown, or what more there is to say. */
  detail: string;
  /** The recorded exception that stood in for a person. */
  robot?: string;
  /** The pull request that it was judged by. */
  pullRequest?: { number: number; url: string; title: string };
  approvers: string[];
  evidence: Evidence[];
}

/** What a commit is judged against. Times in microseconds. */
export interface Demand {
  approvals: number;
  permission: 'none' | 'read' | 'triage' | 'write' | 'maintain' | 'admin';
  graceHours: number;
  /** When it first went live. */
  deployedAt: number;
  /** The branch it is deployed from; approvals for another branch are not for this one. Undefined: not known. */
  branch?: string;
  now: number;
  mergeBots: readonly string[];
  importedApprovals: readonly string[];
  robots: readonly RobotException[];
  /** Where owners have to approve: the members of teams, by `@organisation/team` in lower case. */
  codeOwners?: ReadonlyMap<string, readonly string[]>;
}

export interface RobotException {
  name: string;
  accounts: readonly string[];
  repositories: readonly string[];
  paths: readonly string[];
  may: 'approve' | 'propose';
  reason: string;
}
