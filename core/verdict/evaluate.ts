import type { CommitApproval, Evidence, UnapprovedReason } from '../approval/approval.js';
import { evaluateCommit } from '../approval/evaluate-commit.js';
import type { ChangeTicket, CommitFacts, Person } from '../approval/facts.js';
import type { SamePerson } from '../approval/same-person.js';
import type { Attribution } from '../attribution/attribution.js';
import { type ContentComparison, isSameContent } from '../links/compare-content.js';
import { contentGap, type Link, type LinkDecision, type LinkedSource, type Subject } from '../links/link.js';
import type { SyncPlace } from '../links/sync.js';
import type { Environment, PolicyVersion, RegisteredActor } from './policy.js';
import { actorOf, breakGlassIdentity, environmentOf, inChangeWindow, matchesAny } from './policy-match.js';
import { systemWrite } from './system-writes.js';
import { type ChangeNames, emergencyTicket, judgeTickets, reviewState, ticketEvidence } from './tickets.js';
import { excludedReason, type Verdict, type VerdictName, type VerdictReason } from './verdict.js';

/** The commits behind one source of a link: every one since what was deployed before that touches the path. */
export interface SourceCommits {
  source: LinkedSource;
  commits: CommitFacts[];
  /** When these first went live, in microseconds. */
  deployedAt: number;
  /** Why they can't be told. */
  unavailable?: string;
  /** What to know about the range, such as that its beginning isn't known. */
  note?: string;
}

/** A change with all that its verdict rests on. The store gathers it (store/verdict-evidence.ts); deciding is pure. */
export interface VerdictCase {
  subject: Subject;
  policy: PolicyVersion;
  decision: LinkDecision;
  attribution: Attribution | undefined;
  /** What is said of the change that gave a consequence its content; undefined: nothing yet. */
  root: { verdict: VerdictName; reason?: VerdictReason } | undefined;
  sources: SourceCommits[];
  /** Where the sync stands among those of its application. */
  place: SyncPlace['kind'] | undefined;
  /** An earlier change by others that this one takes back. */
  undoes: { changeID: string; username: string } | undefined;
  tickets: ChangeTicket[];
  names: ChangeNames;
  /** How the content stands to what the linked commit, or for people the deployed one, says. */
  content: ContentComparison | undefined;
  samePerson: SamePerson;
  /** Who the user of the cluster is, as far as is known. */
  person: Person;
  /** Microseconds. */
  now: number;
}

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

function say(
  c: VerdictCase,
  environment: Environment,
  verdict: VerdictName,
  reason: VerdictReason | undefined,
  detail: string,
  more: Partial<Verdict> = {},
): Verdict {
  const link = c.decision.selected;
  return {
    verdict,
    ...(reason !== undefined && { reason }),
    detail,
    environment: environment.name,
    policyVersion: c.policy.version,
    ...(link?.initiator && { initiator: link.initiator }),
    commits: [],
    ...(c.content && { content: c.content }),
    ...more,
    evidence: [...(link?.evidence ?? []), ...(more.evidence ?? [])],
    hazards: [...(link?.hazards ?? []), ...(more.hazards ?? [])],
  };
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

const STATE_RANKS: Record<CommitApproval['state'], number> = {
  unapproved: 0,
  self_approved: 1,
  unknown: 2,
  after_the_fact: 3,
  approved: 4,
};

function byApprovals(c: VerdictCase, environment: Environment): Verdict {
  const { policy } = c.policy;
  const judged: CommitApproval[] = [];
  const hazards: string[] = [];
  let missing: string | undefined;
  for (const { source, commits, deployedAt, unavailable, note } of c.sources) {
    if (note !== undefined) hazards.push(note);
    if (unavailable !== undefined) missing ??= unavailable;
    const demand = {
      approvals: environment.approvals,
      permission: environment.permission,
      graceHours: environment.graceHours,
      deployedAt,
      now: c.now,
      mergeBots: policy.mergeBots,
      importedApprovals: policy.importedApprovals,
      robots: policy.robots,
      ...branchOf(source),
    };
    for (const commit of commits) judged.push(evaluateCommit(commit, demand, c.samePerson));
  }
  const say_ = (
    verdict: VerdictName,
    reason: VerdictReason | undefined,
    detail: string,
    evidence: Evidence[] = [],
  ) => say(c, environment, verdict, reason, detail, { commits: judged, hazards, evidence });
  const [worst] = [...judged].sort((a, b) => STATE_RANKS[a.state] - STATE_RANKS[b.state]);
  const about = (approval: CommitApproval) =>
    `commit ${approval.sha.slice(0, 12)} of ${approval.repo}: ${approval.detail}`;
  if (worst?.state === 'unapproved')
    return say_('unapproved', worst.reason as UnapprovedReason, about(worst));
  if (worst?.state === 'self_approved') return say_('self-approved', undefined, about(worst));
  if (missing !== undefined) return say_('unknown', 'commits_unavailable', missing);
  if (!worst) return say_('unknown', 'commits_unavailable', 'no commit of the range is known');
  if (worst.state === 'unknown') return say_('unknown', 'approval_unknown', about(worst));
  if (c.content?.state === 'different' && provesContent(c))
    return say_(
      'unapproved',
      'content_mismatch',
      `what was written is not what the commit says: ${c.content.different.slice(0, 5).join(', ')}`,
    );

  const ticket = windowProblem(c, environment);
  if (ticket?.problem)
    return say_('unapproved', ticket.problem.reason, ticket.problem.detail, ticket.evidence);
  const evidence = ticket?.evidence ?? [];
  if (c.undoes)
    evidence.push({
      kind: 'change',
      ref: c.undoes.changeID,
      detail: `it takes back what ${c.undoes.username} changed`,
    });
  if (worst.state === 'after_the_fact')
    return say_('approved-after-the-fact', undefined, about(worst), evidence);
  const robot = judged.find((approval) => approval.robot !== undefined);
  const reason =
    c.place === 'rollback' ? 'rollback' : c.place === 'reapply' ? 'reapply' : robot ? 'robot' : undefined;
  const count =
    judged.length === 1
      ? about(judged[0]!)
      : `all ${judged.length} commits since the last deployment are approved`;
  const by = c.decision.selected?.initiator?.username;
  const detail =
    reason === 'rollback'
      ? `${by ?? 'somebody'} went back to a revision that was deployed before; ${count}`
      : reason === 'reapply'
        ? `the revision that was deployed already was applied again; ${count}`
        : count;
  return say_('approved', reason, detail, evidence);
}

/** Whether the comparison is good enough to hold against a change: rendering Helm charts depends on the cluster. */
function provesContent(c: VerdictCase): boolean {
  return c.content?.renderer !== undefined && !c.content.renderer.startsWith('helm');
}

/** What is wrong with the time of a change. Applying again what was deployed already needs no ticket of its own. */
function windowProblem(
  c: VerdictCase,
  environment: Environment,
): { problem?: { reason: UnapprovedReason; detail: string }; evidence: Evidence[] } | undefined {
  if (c.place === 'reapply') return undefined;
  if (!inChangeWindow(environment, c.subject.at))
    return {
      problem: {
        reason: 'expired_window',
        detail: `it came outside of the change windows of ${environment.name}`,
      },
      evidence: [],
    };
  if (!environment.changeTicket) return undefined;
  const ticket = judgeTickets(environment.changeTicket, c.tickets, c.subject.at, c.names);
  if (ticket.state === 'covered') return { evidence: ticket.evidence };
  const reason = ticket.state === 'expired' ? 'expired_window' : 'insufficient';
  return { problem: { reason, detail: ticket.detail }, evidence: ticket.evidence };
}

/** What a source follows, where that names a branch: a tag, a SHA or HEAD doesn't. */
function branchOf(source: LinkedSource): { branch?: string } {
  const { ref } = source;
  if (ref === undefined || ref === 'HEAD' || /^(refs\/tags\/|v?\d+\.\d+|[0-9a-f]{7,64}$)/.test(ref))
    return {};
  return { branch: ref.replace(/^refs\/heads\//, '') };
}
