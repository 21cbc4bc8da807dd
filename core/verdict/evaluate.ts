import { isSameContent } from '../links/compare-content.js';
import { contentGap, type Link, type LinkedSource, type Subject } from '../links/link.js';
import { byApprovals } from './by-approvals.js';
import type { Environment, RegisteredActor } from './policy.js';
import { actorOf, breakGlassIdentity, environmentOf, matchesAny } from './policy-match.js';
import { systemWrite } from './system-writes.js';
import { emergencyTicket, reviewState, ticketEvidence } from './tickets.js';
import { excludedReason, type Verdict } from './verdict.js';
import { say, type VerdictCase } from './verdict-case.js';

/** Says of a change what there is to say of it, with reasons; the order of the questions is part of the answer. */
export function evaluate(c: VerdictCase): Verdict {
  const environment = environmentOf(c.policy.policy, {
    cluster: c.subject.cluster,
    key: c.subject.key,
    labels: c.subject.labels,
  });
  const actor = actorOf(c.policy.policy, c.subject.user);
  return (
    excluded(c, environment, actor) ??
    system(c, environment) ??
    breakGlass(c, environment) ??
    outOfBand(c, environment, actor) ??
    unknown(c, environment) ??
    byApprovals(c, environment)
  );
}

/** Status is what controllers observed; a person who writes status acts, and so does a stranger on a controller's record. */
function excluded(
  c: VerdictCase,
  environment: Environment,
  actor: RegisteredActor | undefined,
): Verdict | undefined {
  const { subject } = c;
  if (subject.class !== 'status' || writesAsPerson(subject, actor)) return undefined;
  return say(c, environment, 'excluded', 'status', excludedReason('status')!);
}

/** Whether a write of status alone is somebody's act rather than a controller's note. */
export function writesAsPerson(subject: Subject, actor: RegisteredActor | undefined): boolean {
  if (actor) return false;
  if (!subject.user.username.startsWith('system:')) return true;
  const group = subject.key.apiGroup;
  return group === 'argoproj.io' || group.endsWith('.toolkit.fluxcd.io');
}

function system(c: VerdictCase, environment: Environment): Verdict | undefined {
  const { subject, attribution } = c;
  const write = systemWrite(subject, c.policy.policy);
  if (write.is === 'unexpected')
    return say(
      c,
      environment,
      'out-of-band',
      'unexpected_write',
      `the account of ${write.controller} wrote what that controller doesn't write`,
    );
  // A controller that takes its finalizer off ends a deletion which somebody else asked for.
  const ends =
    subject.kind === 'finalizer_removal' && subject.user.username.startsWith('system:serviceaccount:');
  if (write.is === 'no' && !ends) return undefined;
  if (write.is === 'system' && write.rootless) return say(c, environment, 'system', undefined, write.detail);
  const name = write.is === 'system' ? write.controller : subject.user.username;
  if (!attribution)
    return say(c, environment, 'unknown', 'cause_unresolved', `what set ${name} off has not been traced yet`);
  if (attribution.state === 'unresolved')
    return say(
      c,
      environment,
      'unknown',
      'cause_unresolved',
      attribution.reason ?? 'what set it off is not known',
    );
  const content = attribution.content ?? attribution.trigger;
  if (!content)
    return say(
      c,
      environment,
      'system',
      undefined,
      `${name} acted by itself (${attribution.rule.replaceAll('_', ' ')})`,
    );
  const trigger =
    attribution.trigger && attribution.trigger.changeID !== content.changeID
      ? attribution.trigger.changeID
      : undefined;
  const root = {
    changeID: content.changeID,
    ...(c.root && { verdict: c.root.verdict, ...(c.root.reason && { reason: c.root.reason }) }),
  };
  return say(c, environment, 'system', undefined, `${name} carries out change ${content.changeID}`, {
    root,
    ...(trigger !== undefined && { triggerChangeID: trigger }),
  });
}

function breakGlass(c: VerdictCase, environment: Environment): Verdict | undefined {
  const { subject, policy } = c;
  const identity = breakGlassIdentity(policy.policy.breakGlass, subject.user);
  if (identity === undefined) return undefined;
  const ticket = emergencyTicket(policy.policy.breakGlass, c.tickets, subject.at);
  if (!ticket) return undefined;
  const review = reviewState(ticket, c.person, subject.at, environment, c.now, c.samePerson);
  return say(
    c,
    environment,
    'break-glass',
    review.state,
    `${identity} acted under ${ticket.kind} ${ticket.id}: ${review.detail}`,
    {
      evidence: [ticketEvidence(ticket)],
    },
  );
}

function outOfBand(
  c: VerdictCase,
  environment: Environment,
  actor: RegisteredActor | undefined,
): Verdict | undefined {
  const { subject, decision, policy } = c;
  const who = subject.impersonatedUser
    ? `${subject.user.username} as ${subject.impersonatedUser.username}`
    : subject.user.username || 'somebody unnamed';
  if (subject.class === 'access')
    return say(
      c,
      environment,
      'out-of-band',
      'interactive_access',
      `${who} had interactive access (${subject.kind.replaceAll('_', ' ')})`,
    );
  const [input] = decision.state === 'linked' ? (decision.selected?.nonGit ?? []) : [];
  if (input)
    return say(
      c,
      environment,
      'out-of-band',
      input.kind,
      `the controller acted on what is in no commit: ${input.detail}`,
      {
        hazards: ['the revision that it names is not what it applied'],
      },
    );
  const linked =
    decision.state === 'linked' && decision.selected !== undefined && decision.selected.rule !== 'derived';
  if (linked || (actor && actor.kind !== 'argocd_server' && actor.kind !== 'system')) return undefined;
  if (subject.class === 'status')
    return say(
      c,
      environment,
      'out-of-band',
      'forged_record',
      `${who} wrote the record that a controller keeps`,
    );
  if (actor?.kind === 'argocd_server')
    return say(
      c,
      environment,
      'out-of-band',
      undefined,
      'a person changed it through the API of Argo CD',
      broken(c),
    );
  const equal = c.content !== undefined && isSameContent(c.content);
  const emergency =
    breakGlassIdentity(policy.policy.breakGlass, subject.user) !== undefined
      ? '; no emergency ticket covers it'
      : '';
  return say(
    c,
    environment,
    'out-of-band',
    equal ? 'content_matches' : undefined,
    equal
      ? `${who} wrote it past git, with content equal to git's`
      : `${who} changed it past git${emergency}`,
    broken(c),
  );
}

function broken(c: VerdictCase): Partial<Verdict> {
  return c.decision.selected?.strength === 'weak'
    ? { hazards: ['the link shown is weak: for display only'] }
    : {};
}

function unknown(c: VerdictCase, environment: Environment): Verdict | undefined {
  const { subject, decision } = c;
  const gap = contentGap(subject);
  if (gap !== undefined) return say(c, environment, 'unknown', 'content_not_recorded', gap);
  if (subject.outcome === 'unknown' || subject.outcome === 'panicked')
    return say(c, environment, 'unknown', 'outcome_unknown', 'whether it was carried out was never told');
  if (decision.state === 'ambiguous')
    return say(
      c,
      environment,
      'unknown',
      'ambiguous_link',
      decision.reason ?? 'several commits may be behind it',
    );
  if (decision.state === 'weak')
    return say(c, environment, 'unknown', 'weak_link', `only a weak link was found: ${decision.reason}`);
  if (decision.state === 'none')
    return say(c, environment, 'unknown', 'no_link', decision.reason ?? 'no record ties it to a commit');
  const link = decision.selected as Link;
  const bare = link.sources.filter((source) => source.sha === undefined && !isTrusted(c, source));
  if (bare.length > 0 || link.sources.every((source) => source.sha === undefined))
    return say(
      c,
      environment,
      'unknown',
      'no_commit',
      `${bare.map((source) => `${source.repository || 'a source'} at ${source.revision || 'no revision'}`).join(', ') || 'its sources'} can't be traced to a commit`,
    );
  return undefined;
}

function isTrusted(c: VerdictCase, source: LinkedSource): boolean {
  return matchesAny(c.policy.policy.trustedSources, source.repository);
}
