import type { CommitApproval, Evidence, UnapprovedReason } from '../approval/approval.js';
import type { ContentComparison } from '../links/compare-content.js';
import type { EventClass } from '../vocabulary.js';

/** What is said of a change, in the order in which they are tried (docs/verdicts.md). */
export const VERDICTS = [
  'excluded',
  'system',
  'break-glass',
  'out-of-band',
  'unknown',
  'approved',
  'approved-after-the-fact',
  'self-approved',
  'unapproved',
] as const;
export type VerdictName = (typeof VERDICTS)[number];

/** Those that an auditor asks about; the others are in order, or nobody's change. */
export const FAILING: readonly VerdictName[] = ['out-of-band', 'unknown', 'self-approved', 'unapproved'];

export const OUT_OF_BAND_REASONS = [
  'content_matches',
  'local_manifests',
  'overrides',
  'interactive_access',
  'forged_record',
  'unexpected_write',
] as const;
export const UNKNOWN_REASONS = [
  'content_not_recorded',
  'outcome_unknown',
  'no_link',
  'weak_link',
  'ambiguous_link',
  'no_commit',
  'commits_unavailable',
  'approval_unknown',
  'cause_unresolved',
] as const;
export const APPROVED_REASONS = ['reapply', 'rollback', 'robot'] as const;
export const BREAK_GLASS_STATES = ['pending', 'reviewed', 'overdue'] as const;

export type VerdictReason =
  | (typeof OUT_OF_BAND_REASONS)[number]
  | (typeof UNKNOWN_REASONS)[number]
  | (typeof APPROVED_REASONS)[number]
  | (typeof BREAK_GLASS_STATES)[number]
  | UnapprovedReason
  | EventClass;

export interface Verdict {
  verdict: VerdictName;
  reason?: VerdictReason;
  /** For a person to read. */
  detail: string;
  /** The environment whose rules were applied, and the policy that holds them. */
  environment: string;
  policyVersion: string;
  /** Of a consequence: the change that gave it its content, with what is said of that one; it never makes up the consequence's own. */
  root?: { changeID: string; verdict?: VerdictName; reason?: VerdictReason };
  /** What set a consequence off, where that is another change than its root. */
  triggerChangeID?: string;
  initiator?: { username?: string; automated: boolean };
  commits: CommitApproval[];
  content?: ContentComparison;
  evidence: Evidence[];
  hazards: string[];
}

/** `unapproved(stale)`, as people write it. */
export function verdictText(verdict: { verdict: string; reason?: string | null | undefined }): string {
  return verdict.reason ? `${verdict.verdict}(${verdict.reason})` : verdict.verdict;
}

/** Why an event has no verdict of its own: it changed nothing, or only what the cluster keeps about itself. */
export function excludedReason(eventClass: EventClass): string | undefined {
  switch (eventClass) {
    case 'dry_run':
      return 'a dry run writes nothing';
    case 'no_op':
      return 'the object was like that already: nothing was written';
    case 'rejected':
      return 'the apiserver refused it';
    case 'failed_auth':
      return 'it failed authentication: a security event, not a change';
    case 'review':
      return 'a question to the apiserver, not a write';
    case 'read':
    case 'secret_read':
      return 'it read only';
    case 'lease':
      return 'a lease or a leader election record';
    case 'kube_event':
      return 'a note of something that happened';
    case 'stage':
      return 'a stage of a request that says nothing final';
    case 'status':
      return 'it wrote only what a controller observed';
    default:
      return undefined;
  }
}
