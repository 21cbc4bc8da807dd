import type { CommitApproval, Evidence, UnapprovedReason } from '../approval/approval.js';
import { evaluateCommit } from '../approval/evaluate-commit.js';
import type { LinkedSource } from '../links/link.js';
import type { Environment } from './policy.js';
import { inChangeWindow } from './policy-match.js';
import { judgeTickets } from './tickets.js';
import type { Verdict, VerdictName, VerdictReason } from './verdict.js';
import { say, type VerdictCase } from './verdict-case.js';

const STATE_RANKS: Record<CommitApproval['state'], number> = {
  unapproved: 0,
  self_approved: 1,
  unknown: 2,
  after_the_fact: 3,
  approved: 4,
};

/** What there is to say of a change whose commits are known: by who approved them, content, and time. */
export function byApprovals(c: VerdictCase, environment: Environment): Verdict {
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
      ...(environment.codeOwners && { codeOwners: new Map(Object.entries(policy.teams ?? {})) }),
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

  if (c.content?.state === 'different')
    hazards.push(
      `rendered here, the chart says otherwise in ${c.content.different.slice(0, 5).join(', ')}: charts may depend on the cluster`,
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
