import type { Policy, RegisteredActor } from '../verdict/policy.js';
import { actorOf } from '../verdict/policy-match.js';
import type { LinkEvidence } from './evidence.js';
import { isSha, type Link, type Subject } from './link.js';

const MAX_SESSION = 512;

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

/**
 * Rule 6: the session's name (EKS: of the assumed role) tells the commit, by a pattern of the policy. Strong only where
 * it does; a run alone is for display, until somebody tells its commit.
 */
export function linksByCiSession(subject: Subject, evidence: Pick<LinkEvidence, 'policy'>): Link[] {
  const actor = pipelineOf(subject, evidence);
  if (!actor?.session) return [];
  const pattern = new RegExp(actor.session.pattern);
  const found = (subject.user.extra?.[actor.session.extra] ?? [])
    .filter((name) => name.length <= MAX_SESSION)
    .flatMap((name) => {
      const groups = pattern.exec(name)?.groups;
      return groups ? [{ name, sha: groups.sha, run: groups.run }] : [];
    })[0];
  if (!found) return [];
  const repository = claimOf(subject, actor.claims.repository) ?? actor.repository ?? '';
  const known = found.sha !== undefined && isSha(found.sha) && repository !== '';
  return [
    {
      rule: 'ci_session',
      strength: known ? 'strong' : 'weak',
      sources: [{ repository, revision: found.sha ?? `run ${found.run}`, ...(known && { sha: found.sha! }) }],
      initiator: { username: actor.name, automated: true },
      evidence: [
        {
          kind: 'session',
          ref: found.name,
          detail: `session of ${subject.user.username}${found.run === undefined ? '' : `, run ${found.run}`}`,
        },
      ],
      hazards: ['whoever may assume the role chooses the name of the session'],
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
  const evidence = { policy };
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
