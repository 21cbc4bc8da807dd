/**
 * The imported facts that links and verdicts are decided from: what git repositories, their hosts and ticket systems
 * said, as of when. Facts carry no judgement of ours. Times are microseconds since the Unix epoch, or undefined where
 * the host doesn't tell.
 */

import type { CodeOwnersFile } from './code-owners.js';

/** Someone as a system names them; what belongs to one person is told by identities.ts, never guessed from alikeness. */
export interface Person {
  name?: string;
  email?: string;
  /** The account on the repository's host. */
  login?: string;
  kind?: 'human' | 'bot';
}

/** What verifying a signature gave. `unverified`: it is there, and no key of ours tells whose it is. */
export const SIGNATURES = ['none', 'good', 'bad', 'unverified'] as const;
export type Signature = (typeof SIGNATURES)[number];

/** A commit of a mirrored repository. */
export interface Commit {
  /** The repository's name in whochanged. */
  repo: string;
  sha: string;
  tree: string;
  parents: string[];
  author: Person;
  authoredAt: number;
  committer: Person;
  committedAt: number;
  /** From Co-authored-by trailers. */
  coAuthors: Person[];
  signature: Signature;
  /** Key id or principal of the signature. */
  signer?: string;
  subject: string;
  /** Against the first parent; a path of a rename counts under both names. */
  changedPaths: string[];
}

export const REVIEW_STATES = ['approved', 'changes_requested', 'commented', 'unknown'] as const;
export type ReviewState = (typeof REVIEW_STATES)[number];

/** One review, with the state that it was given; a dismissal is told apart, since it has a time of its own. */
export interface Review {
  id: string;
  reviewer: Person;
  state: ReviewState;
  submittedAt: number;
  /** The head that was reviewed; hosts may have forgotten it. */
  sha?: string;
  dismissedAt?: number;
  dismissedBy?: Person;
  /** What the reviewer was allowed in the repository, and when we saw that (`write`, `read`, a GitLab access level...). */
  permission?: 'admin' | 'maintain' | 'write' | 'triage' | 'read' | 'none';
  permissionSeenAt?: number;
  /** Whether the host counted it towards the rule's approvals, where it tells. */
  counted?: boolean;
}

export const MERGE_METHODS = ['merge', 'squash', 'rebase', 'queue', 'fast_forward'] as const;
export type MergeMethod = (typeof MERGE_METHODS)[number];

/** A pull request of GitHub, a merge request of GitLab, a change of Gerrit. */
export interface PullRequest {
  repo: string;
  number: number;
  title: string;
  url: string;
  state: 'open' | 'closed' | 'merged';
  author: Person;
  /** Who pushed the final head, where the host tells. */
  lastPusher?: Person;
  lastPushedAt?: number;
  baseRef: string;
  headSha: string;
  /** Its commits, oldest first, as of the final head. */
  commits: Array<{ sha: string; author: Person; committer: Person; coAuthors?: Person[] }>;
  createdAt: number;
  mergedAt?: number;
  mergedBy?: Person;
  /** The commit on the base branch that it became. */
  mergeSha?: string;
  mergeMethod?: MergeMethod;
  /** How many approvals the host's own rule asked for when it was merged, where that was seen. */
  requiredApprovals?: number;
  reviews: Review[];
  /** A rule of the branch was bypassed for it. */
  bypass?: { actor: Person; at: number; rule: string };
}

/**
 * How a merged commit stands to what was approved. `ancestor`: the approved head is in its history; `equal_tree`: the
 * tree recomputed from base and approved head is its tree; `different`: neither; `unknown`: it can't be recomputed.
 */
export interface Equivalence {
  kind: 'ancestor' | 'equal_tree' | 'different' | 'unknown';
  /** The recomputed tree, or why there is none. */
  detail?: string;
}

/** Who owned what of a repository before something came in: no file says so, one does, or it can't be told why. */
export type KnownOwners = { file: CodeOwnersFile | undefined; at: string } | { unknown: string };

/** A commit with everything that its approval is judged from. */
export interface CommitFacts {
  commit: Commit;
  /** The pull requests that brought it to the branch it is deployed from. Empty: it was pushed directly, as far as is known. */
  pullRequests: Array<{ pullRequest: PullRequest; equivalence: Equivalence; owners?: KnownOwners }>;
  /** Who owned what before the commit, where no pull request brought it; undefined: not asked for. */
  owners?: KnownOwners;
  /** A push to the branch that bypassed its rules. */
  bypass?: { actor: Person; at: number; rule: string };
  /** Approvals told by other systems (generic webhook, CSV). */
  approvals: ImportedApproval[];
  /** Whether the host was reachable and synced past the commit's time: without that, "no pull request" isn't known. */
  hostSyncedAt?: number;
}

/** An approval that a system without a module of its own told: a signed webhook, or an imported file. */
export interface ImportedApproval {
  id: string;
  subject:
    | { kind: 'commit'; repo: string; sha: string }
    | { kind: 'image'; digest: string }
    | { kind: 'change'; id: string };
  approver: Person;
  approvedAt: number;
  /** Who told, by what way. */
  origin: string;
  url?: string;
}

/** A request for a change, or an incident, in a ticket system (ServiceNow change_request, Jira issue...). */
export interface ChangeTicket {
  system: string;
  id: string;
  kind: 'standard' | 'normal' | 'emergency' | 'incident';
  /** The system's own word. */
  state: string;
  approved: boolean;
  approvers: Array<{ person: Person; approvedAt?: number }>;
  /** Half-open; what is missing is unbounded only where the policy says so. */
  windowStart?: number;
  windowEnd?: number;
  /** Configuration items: application, namespace, cluster names as the system spells them. */
  configurationItems: string[];
  requestedBy?: Person;
  url?: string;
  /** Review after the fact, of an emergency. */
  reviewedBy?: Person;
  reviewedAt?: number;
}
