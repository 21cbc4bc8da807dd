import { formatMicros } from '../timestamp.js';
import type { Policy, RegisteredActor } from '../verdict/policy.js';
import { actorOf } from '../verdict/policy-match.js';
import type { LinkEvidence } from './evidence.js';
import { isSha, type Link, type Subject } from './link.js';

const MAX_SESSION = 512;
/** Clocks of a host and an apiserver differ a little; microseconds. */
const RUN_TOLERANCE = 60 * 1e6;

/**
 * Rule 3: claims of the pipeline's OIDC token that the apiserver verified and copied to user.extra
 * (AuthenticationConfiguration, claimMappings.extra). Exact for the run; what it checked out may have been edited.
 */
export function linksByOidc(subject: Subject, evidence: Pick<LinkEvidence, 'policy'>): Link[] {
  const actor = pipelineOf(subject, evidence);
  if (!actor?.claims.sha) return [];
  const sha = claimOf(subject, actor.claims.sha);
  if (sha === undefined || !isSha(sha)) return [];
  const repository = claimOf(subject, actor.claims.repository) ?? actor.repository;
  if (repository === undefined) return [];
  const run = claimOf(subject, actor.claims.run);
  return [
    {
      rule: 'oidc',
      strength: 'exact',
      sources: [{ repository, revision: sha, sha }],
      initiator: { username: actor.name, automated: true },
      evidence: [
        {
          kind: 'claim',
          ref: `${actor.claims.sha}=${sha}`,
          detail: `the apiserver verified the token of ${subject.user.username}: ${repository} at ${sha}${run === undefined ? '' : `, run ${run}`}`,
        },
      ],
      hazards: ['the run may have applied something else than it checked out'],
    },
  ];
}

/** A run of a pipeline as its repository's host tells it. Times are microseconds. */
export interface CiRun {
  sha: string;
  startedAt: number;
  /** Until when it went on, as far as is known. */
  until: number;
  /** Whether it had ended then. */
  ended: boolean;
  url: string;
}

/** What the name of a pipeline's session tells, by the pattern of the policy. */
function sessionOf(
  subject: Subject,
  policy: Policy,
): { name: string; sha: string | undefined; run: string | undefined; repository: string } | undefined {
  const actor = pipelineOf(subject, { policy });
  if (!actor?.session) return undefined;
  const pattern = new RegExp(actor.session.pattern);
  for (const name of subject.user.extra?.[actor.session.extra] ?? []) {
    const groups = name.length <= MAX_SESSION ? pattern.exec(name)?.groups : undefined;
    if (!groups) continue;
    const repository = claimOf(subject, actor.claims.repository) ?? actor.repository ?? '';
    return { name, sha: groups.sha, run: groups.run, repository };
  }
  return undefined;
}

/** The run that a session names without its commit: the host of its repository may tell that. */
export function runOfSession(
  subject: Subject,
  policy: Policy,
): { repository: string; run: string } | undefined {
  const session = sessionOf(subject, policy);
  if (!session || session.run === undefined || session.repository === '') return undefined;
  return session.sha !== undefined && isSha(session.sha)
    ? undefined
    : { repository: session.repository, run: session.run };
}

/**
 * Rule 6: the session's name (EKS: of the assumed role) tells the commit, or the run whose commit the repository's host
 * tells, by a pattern of the policy. Strong only then, and within the time of the run: sessions are used again.
 */
export function linksByCiSession(subject: Subject, evidence: Pick<LinkEvidence, 'policy' | 'ciRun'>): Link[] {
  const session = sessionOf(subject, evidence.policy);
  if (!session) return [];
  const { name, run, repository } = session;
  const named = session.sha !== undefined && isSha(session.sha) ? session.sha : undefined;
  const told = named === undefined ? evidence.ciRun : undefined;
  const within =
    told !== undefined &&
    subject.at >= told.startedAt - RUN_TOLERANCE &&
    subject.at <= told.until + RUN_TOLERANCE;
  const sha = repository === '' ? undefined : (named ?? (within ? told.sha : undefined));
  return [
    {
      rule: 'ci_session',
      strength: sha === undefined ? 'weak' : 'strong',
      sources: [{ repository, revision: session.sha ?? `run ${run}`, ...(sha !== undefined && { sha }) }],
      initiator: { username: pipelineOf(subject, evidence)!.name, automated: true },
      evidence: [
        {
          kind: 'session',
          ref: name,
          detail: `session of ${subject.user.username}${run === undefined ? '' : `, run ${run}`}`,
        },
        ...(told
          ? [
              {
                kind: 'run',
                ref: told.url,
                detail: `the host tells that run ${run} is of ${told.sha}, from ${formatMicros(told.startedAt)} to ${formatMicros(told.until)}${told.ended ? '' : ' or later'}`,
              },
            ]
          : []),
      ],
      hazards: [
        ...(told && !within ? ['it came outside of the time of the run that the session names'] : []),
        'whoever may assume the role chooses the name of the session',
      ],
    },
  ];
}

/**
 * The repository whose manifests may say what a pipeline wrote, where neither its token nor its session names the commit.
 * Undefined: nobody registered it, something names the commit, or nothing says which repository it deploys.
 */
export function repositoryByMatch(subject: Subject, policy: Policy): string | undefined {
  const actor = actorOf(policy, subject.user);
  if (actor?.kind !== 'ci') return undefined;
  const evidence = { policy, ciRun: undefined };
  const named = [...linksByOidc(subject, evidence), ...linksByCiSession(subject, evidence)];
  if (named.some(({ strength }) => strength !== 'weak')) return undefined;
  return claimOf(subject, actor.claims.repository) ?? actor.repository;
}

function pipelineOf(subject: Subject, evidence: Pick<LinkEvidence, 'policy'>): RegisteredActor | undefined {
  const actor = actorOf(evidence.policy, subject.user);
  return actor?.kind === 'ci' ? actor : undefined;
}

/** A claim with several values says nothing certain. */
function claimOf(subject: Subject, key: string | undefined): string | undefined {
  const values = key === undefined ? undefined : subject.user.extra?.[key];
  return values?.length === 1 && values[0] !== '' ? values[0] : undefined;
}
