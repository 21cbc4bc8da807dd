import { canonicalJson, sha256 } from '../canonical.js';

/**
 * What a cluster's owners hold changes to. Text comes from a YAML file (docs/policy.md); core/verdict/read-policy.ts
 * checks it. Patterns are exact, or with `*` for any characters. An empty list of a selector matches everything.
 */
export interface Policy {
  /** The name its authors gave it. */
  name: string;
  /** In order: the first that matches a change judges it. */
  environments: Environment[];
  /** What holds for a change that no environment matches. */
  fallback: Environment;
  /** Who, besides people, may bring changes, and how their changes lead to commits. */
  actors: RegisteredActor[];
  robots: Robot[];
  breakGlass: BreakGlass;
  /** Accounts of hosts that make commits for people: web editors, squash and rebase buttons. */
  mergeBots: string[];
  /** Where approvals of other systems may come from, as imported approvals name their origin. */
  importedApprovals: string[];
  /** Chart repositories and registries whose content is taken without a commit of ours behind it. */
  trustedSources: string[];
  signers: Signer[];
  /** Members of teams that own code, by logins or addresses; left out: none are declared. */
  teams?: Record<string, string[]>;
}

export const PERMISSIONS = ['none', 'read', 'triage', 'write', 'maintain', 'admin'] as const;
export type Permission = (typeof PERMISSIONS)[number];

export interface Environment {
  name: string;
  clusters: string[];
  namespaces: string[];
  /** Labels of the object, all of which must hold. */
  labels: Record<string, string>;
  /** Effective approvals that each commit needs. */
  approvals: number;
  /** The least that an approver must have been allowed in the repository. */
  permission: Permission;
  /** How long after going live an approval, or the review of an emergency, still counts for something. */
  graceHours: number;
  /** How long late evidence is awaited before a verdict is final. */
  finalizeAfterMinutes: number;
  changeTicket: TicketRule | undefined;
  /** When changes may be made, in UTC; none: always. */
  changeWindows: ChangeWindow[];
  /** Whether owners of what is changed (CODEOWNERS) have to be among those who approve it; left out: no. */
  codeOwners?: true;
}

export interface TicketRule {
  systems: string[];
  kinds: string[];
  /** Which of the change's names the ticket's configuration items must name one of; none: any ticket will do. */
  match: Array<'application' | 'namespace' | 'cluster' | 'object'>;
  /** Whether a ticket without an end (or beginning) is open on that side. */
  openEnded: boolean;
}

export const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
export type Day = (typeof DAYS)[number];

/** Minutes of the day in UTC, half-open. */
export interface ChangeWindow {
  days: Day[];
  from: number;
  until: number;
}

/**
 * - `argocd`: the application controller of Argo CD
 * - `argocd_server`: its API, through which people act
 * - `flux`: kustomize-controller; `helm_controller`: Flux' helm-controller
 * - `ci`: a pipeline
 * - `system`: an add-on whose writes follow from objects that others made
 */
export const ACTOR_KINDS = ['argocd', 'argocd_server', 'flux', 'helm_controller', 'ci', 'system'] as const;
export type ActorKind = (typeof ACTOR_KINDS)[number];

export interface RegisteredActor {
  name: string;
  kind: ActorKind;
  users: string[];
  groups: string[];
  /** `ci`: the keys of user.extra that the apiserver copied verified OIDC claims to. */
  claims: { sha: string | undefined; repository: string | undefined; run: string | undefined };
  /** `ci`: how a session's name tells the run. Named groups: sha, run. */
  session: { extra: string; pattern: string } | undefined;
  /** `ci`: the repository of all it deploys, where no claim tells. */
  repository: string | undefined;
  /** `system`: what it may write. */
  writes: AllowedWrite[];
}

export interface AllowedWrite {
  /** Plurals, as `pods` or `deployments.apps`. */
  resources: string[];
  verbs: string[];
  /** Field paths, each speaking for all below it; none: any. */
  fields: string[];
}

/** A recorded exception for a machine account. */
export interface Robot {
  name: string;
  /** Logins or e-mail addresses. */
  accounts: string[];
  repositories: string[];
  /** Changed paths that it is limited to; none: any. */
  paths: string[];
  /** `approve`: its approval counts as a person's. `propose`: what it alone wrote needs no approval. */
  may: 'approve' | 'propose';
  /** Where the exception is recorded. */
  reason: string;
}

export interface BreakGlass {
  users: string[];
  groups: string[];
  sessions: Array<{ extra: string; pattern: string }>;
  ticketSystems: string[];
  ticketKinds: string[];
  openEnded: boolean;
}

export interface Signer {
  name: string;
  /** Ed25519, PEM (SPKI). */
  publicKey: string;
  repositories: string[];
}

const DEFAULT_ENVIRONMENT: Environment = {
  name: 'default',
  clusters: [],
  namespaces: [],
  labels: {},
  approvals: 1,
  permission: 'write',
  graceHours: 24,
  finalizeAfterMinutes: 30,
  changeTicket: undefined,
  changeWindows: [],
};

const DEFAULT_ACTORS: Array<[name: string, kind: ActorKind, user: string]> = [
  ['argocd', 'argocd', 'system:serviceaccount:argocd:argocd-application-controller'],
  ['argocd-server', 'argocd_server', 'system:serviceaccount:argocd:argocd-server'],
  ['flux', 'flux', 'system:serviceaccount:flux-system:kustomize-controller'],
  ['flux-helm', 'helm_controller', 'system:serviceaccount:flux-system:helm-controller'],
];

/** What holds while no policy is configured, and for what a policy leaves out. */
export const DEFAULT_POLICY: Policy = {
  name: 'built-in',
  environments: [],
  fallback: DEFAULT_ENVIRONMENT,
  actors: DEFAULT_ACTORS.map(([name, kind, user]) => ({
    name,
    kind,
    users: [user],
    groups: [],
    claims: { sha: undefined, repository: undefined, run: undefined },
    session: undefined,
    repository: undefined,
    writes: [],
  })),
  robots: [],
  breakGlass: {
    users: [],
    groups: [],
    sessions: [],
    ticketSystems: [],
    ticketKinds: ['emergency', 'incident'],
    openEnded: false,
  },
  // Author of web edits and of squash, rebase and update-branch merges on GitHub; GitLab's service accounts are named.
  mergeBots: ['web-flow', 'noreply@github.com'],
  importedApprovals: [],
  trustedSources: [],
  signers: [],
};

/** A policy as verdicts name it: equal policies have equal versions, whatever the layout of their files. */
export interface PolicyVersion {
  policy: Policy;
  /** Hex SHA-256 of the canonical policy. */
  digest: string;
  /** `NAME@` and the first 12 digits of the digest. */
  version: string;
}

export function versionOfPolicy(policy: Policy): PolicyVersion {
  const digest = sha256(canonicalJson(policy)).toString('hex');
  return { policy, digest, version: `${policy.name}@${digest.slice(0, 12)}` };
}
