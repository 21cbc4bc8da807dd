import type { Evidence } from '../approval/approval.js';
import type { UserInfo } from '../audit-event.js';
import type { ObjectKey } from '../identity.js';
import type { ChangeClass, ChangeKind, Outcome } from '../vocabulary.js';
import type { SourceReading } from './source-reading.js';

/**
 * The rules by which a change is tied to commits, in the order in which they are tried (docs/verdicts.md).
 *
 * - `derived`: a consequence, which has its content from its root
 * - `argocd`: Argo CD's record of the sync, written by its controller, lists the object
 * - `oidc`: the commit stands in claims of the pipeline's token, which the apiserver verified
 * - `flux`: the Kustomization that owns the object was at this revision
 * - `helm_release`: a HelmRelease, by the Kustomization that brought it
 * - `ci_session`: the pipeline's session names the run or the commit
 * - `rendered`: the commit's manifests render to what was written, and no other's do
 * - `signed_annotation`: a trusted signer vouches for commit and content
 * - `coincidence`: an unsigned annotation or the like; for display only
 */
export const LINK_RULES = [
  'derived',
  'argocd',
  'oidc',
  'flux',
  'helm_release',
  'ci_session',
  'rendered',
  'signed_annotation',
  'coincidence',
] as const;
export type LinkRule = (typeof LINK_RULES)[number];

export const STRENGTHS = ['exact', 'strong', 'weak'] as const;
/** `weak` is for display: it never approves anything. */
export type Strength = (typeof STRENGTHS)[number];

/** One source of what was deployed, at one revision. */
export interface LinkedSource {
  /** As the controller or the pipeline names it: a clone URL, a chart repository, or a repository's path. */
  repository: string;
  path?: string;
  /** The branch or tag that it follows. */
  ref?: string;
  /** As told: a SHA, `main@sha1:...`, a chart's version. */
  revision: string;
  /** The commit; undefined: this source has none, or none is told. */
  sha?: string;
  chart?: string;
  /** How the controller makes manifests of it, where it told. */
  reading?: SourceReading;
}

/** Input of a controller that comes from no commit. */
export interface NonGitInput {
  kind: 'local_manifests' | 'overrides';
  detail: string;
}

/** One way in which a change may be tied to commits. */
export interface Link {
  rule: LinkRule;
  strength: Strength;
  sources: LinkedSource[];
  /** The sync of a controller that it belongs to. */
  syncID?: string;
  /** The change that it inherits from (rule `derived`). */
  rootChangeID?: string;
  /** Who set the controller or pipeline off, as those say. */
  initiator?: { username?: string; automated: boolean };
  nonGit?: NonGitInput[];
  /** Something that it depends on and that isn't known: then it doesn't count. */
  doubt?: string;
  evidence: Evidence[];
  /** What could make the link wrong. */
  hazards: string[];
}

/** All links that were found, and the one that counts. */
export interface LinkDecision {
  state: 'linked' | 'ambiguous' | 'weak' | 'none';
  /** The one that counts; also the best weak one, for display. */
  selected?: Link;
  candidates: Link[];
  /** Why nothing counts. */
  reason?: string;
}

/** A change as links and verdicts look at it. Times are microseconds. */
export interface Subject {
  changeID: string;
  cluster: string;
  at: number;
  class: ChangeClass;
  kind: ChangeKind;
  outcome: Outcome;
  verb: string;
  subresource: string | undefined;
  key: ObjectKey;
  /** The object's kind, where a body told it. */
  objectKind: string | undefined;
  user: UserInfo;
  impersonatedUser: UserInfo | undefined;
  userAgent: string | undefined;
  flags: readonly string[];
  labels: readonly string[];
  /** Of the object after the change, or of the one that is gone. */
  annotations: Readonly<Record<string, string>>;
  /** Field paths that it changed; undefined: not known. */
  paths: readonly string[] | undefined;
  /** SHA-256 of the manifest as it was sent, without signatures (core/links/signed-annotation.ts); undefined: not sent whole. */
  manifestDigest: string | undefined;
}

/** Whether what was written is not known, and why. */
export function contentGap(subject: Subject): string | undefined {
  if (subject.flags.includes('truncated')) return 'the apiserver removed the bodies of its event for size';
  if (subject.flags.includes('content_not_recorded'))
    return 'the audit policy kept the bodies of its event out';
  return undefined;
}

export function labelOf(subject: Pick<Subject, 'labels'>, key: string): string | undefined {
  return subject.labels.find((label) => label.startsWith(`${key}=`))?.slice(key.length + 1);
}

const SHA = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** Whether a text is a whole git object name (SHA-1 or SHA-256). */
export function isSha(text: string): boolean {
  return SHA.test(text);
}
