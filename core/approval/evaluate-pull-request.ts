import { formatMicros } from '../timestamp.js';
import type { CommitApproval, Demand, Evidence, UnapprovedReason } from './approval.js';
import { ownerDemands, unmetDemand } from './code-owners.js';
import { contributorsOf, soleAuthor } from './contributors.js';
import { stancesAsOf } from './effective-reviews.js';
import type { Commit, CommitFacts, Equivalence, KnownOwners, Person, PullRequest } from './facts.js';
import { distinct, type Judged, judgeReview } from './judge-review.js';
import { accountOf, type SamePerson } from './same-person.js';

export const HOUR = 3_600 * 1e6;

/** Whether a pull request approved its commit. `imported`: what other systems said of the commit. */
export function evaluatePullRequest(
  commit: Commit,
  { pullRequest, equivalence, owners }: CommitFacts['pullRequests'][number],
  imported: Judged[],
  demand: Demand,
  samePerson: SamePerson,
): CommitApproval {
  const result = (
    state: CommitApproval['state'],
    detail: string,
    more: Partial<CommitApproval> = {},
  ): CommitApproval => ({
    repo: commit.repo,
    sha: commit.sha,
    state,
    detail,
    pullRequest: { number: pullRequest.number, url: pullRequest.url, title: pullRequest.title },
    approvers: [],
    ...more,
    evidence: [...pullRequestEvidence(pullRequest, equivalence), ...(more.evidence ?? [])],
  });
  if (pullRequest.state !== 'merged' || pullRequest.mergedAt === undefined)
    return result('unapproved', `#${pullRequest.number} was not merged`, { reason: 'no_pr' });

  const contributors = contributorsOf(commit, pullRequest, demand.mergeBots);
  const robot = soleAuthor(pullRequest, commit, demand.robots);
  if (robot && isSame(equivalence))
    return result('approved', `only ${robot.name} contributed to #${pullRequest.number}: ${robot.reason}`, {
      robot: robot.name,
    });

  // As of the merge first; then with all that was said since, for approvals after the fact.
  const atMerge = stancesAsOf(pullRequest.reviews, pullRequest.mergedAt, samePerson);
  const known = new Set(atMerge.map(({ review }) => review.id));
  const later = stancesAsOf(pullRequest.reviews, demand.now, samePerson).filter(
    ({ review }) => !known.has(review.id),
  );
  const context = { commit, pullRequest, contributors, demand, samePerson };
  const judgements = [
    ...atMerge.map((stance) => judgeReview(stance, context, true)),
    ...later.map((stance) => judgeReview(stance, context, false)),
    ...imported,
  ].filter((judged): judged is Judged => judged !== undefined);
  const evidence = judgements.map((judged) => judged.evidence);
  for (const { review, stance } of atMerge)
    if (stance === 'changes_requested')
      evidence.push({
        kind: 'review',
        ref: review.id,
        detail: `${accountOf(review.reviewer)} still asked for changes when it was merged`,
      });

  const good = distinct(
    judgements.filter(({ fault }) => fault === undefined),
    samePerson,
  );
  const approvers = good.map(({ approver }) => accountOf(approver));
  const withRobot = good.find((judged) => judged.robot)?.robot;
  if (good.length >= demand.approvals) {
    const detail =
      demand.approvals === 0
        ? `#${pullRequest.number} was merged; no approval is asked for here`
        : `${approvers.join(', ')} approved #${pullRequest.number} on its final head before it was merged`;
    const unowned =
      isSame(equivalence) &&
      ownersProblem(
        commit,
        owners,
        good.map(({ approver }) => approver),
        demand,
        samePerson,
      );
    if (unowned) return result(unowned.state, unowned.detail, { ...unowned.more, approvers, evidence });
    if (isSame(equivalence))
      return result('approved', detail, { approvers, evidence, ...(withRobot && { robot: withRobot }) });
    if (equivalence.kind === 'different')
      return result('unapproved', `what was merged is not what was approved${because(equivalence)}`, {
        reason: 'content_mismatch',
        approvers,
        evidence,
      });
    return result(
      'unknown',
      `whether what was merged is what was approved can't be told${because(equivalence)}`,
      {
        approvers,
        evidence,
      },
    );
  }
  if (equivalence.kind === 'different')
    return result('unapproved', `what was merged is not the pull request's head${because(equivalence)}`, {
      reason: 'content_mismatch',
      evidence,
    });
  const late = distinct(
    judgements.filter(({ fault }) => fault === undefined || fault === 'late'),
    samePerson,
  );
  const owned = () =>
    ownersProblem(
      commit,
      owners,
      late.map(({ approver }) => approver),
      demand,
      samePerson,
    ) === undefined;
  if (late.length >= demand.approvals && isSame(equivalence) && owned()) {
    const at = late.map((judged) => judged.at).sort((a, b) => a - b)[demand.approvals - 1]!;
    const hours = (at - demand.deployedAt) / HOUR;
    if (hours <= demand.graceHours)
      return result(
        'after_the_fact',
        hours > 0
          ? `approved ${hoursText(hours)} after it went live, within ${demand.graceHours} h`
          : 'approved after the merge, before it went live',
        {
          approvers: late.map(({ approver }) => accountOf(approver)),
          evidence,
        },
      );
  }
  // Doubt matters only where it could have made the difference.
  const possible = distinct(
    judgements.filter(({ fault }) => fault === undefined || fault === 'doubt'),
    samePerson,
  );
  const doubt = judgements.find(({ fault }) => fault === 'doubt');
  if (doubt && possible.length >= demand.approvals)
    return result('unknown', doubt.evidence.detail, { approvers, evidence });
  const approvals = judgements.filter((judged) => judged.given);
  const fault = (name: Judged['fault']) => approvals.find((judged) => judged.fault === name);
  if (approvals.length > 0 && approvals.every((judged) => judged.fault === 'self'))
    return result(
      'self_approved',
      `all who approved #${pullRequest.number} contributed to it: ${approvals.map(({ approver }) => accountOf(approver)).join(', ')}`,
      { evidence },
    );
  const reason: UnapprovedReason = fault('stale')
    ? 'stale'
    : fault('unauthorised')
      ? 'unauthorised'
      : pullRequest.bypass && approvals.length === 0
        ? 'bypass'
        : 'insufficient';
  const told = fault('stale') ?? fault('unauthorised') ?? fault('late');
  return result(
    'unapproved',
    `#${pullRequest.number} has ${good.length} of ${demand.approvals} approvals that count${told ? `: ${told.evidence.detail}` : ''}`,
    {
      reason,
      approvers,
      evidence: pullRequest.bypass ? [...evidence, bypassEvidence(commit.sha, pullRequest.bypass)] : evidence,
    },
  );
}

/** What is wrong with who approved, where owners of what a commit changes have to: none of them did, or it can't be told. */
export function ownersProblem(
  commit: Commit,
  owners: KnownOwners | undefined,
  approvers: readonly Person[],
  { codeOwners: teams }: Demand,
  samePerson: SamePerson,
): { state: 'unapproved' | 'unknown'; detail: string; more: { reason?: UnapprovedReason } } | undefined {
  if (!teams) return undefined;
  if (!owners || 'unknown' in owners)
    return {
      state: 'unknown',
      detail: `who owns what it changes can't be told: ${owners ? owners.unknown : 'no mirror was asked'}`,
      more: {},
    };
  if (!owners.file) return undefined;
  const { path, text } = owners.file;
  const unmet = unmetDemand(ownerDemands(text, commit.changedPaths), approvers, teams, samePerson);
  if (!unmet) return undefined;
  const { demand, certain } = unmet;
  const whom = `${demand.approvals > 1 ? `${demand.approvals} of ` : ''}${demand.owners.join(', ')}`;
  const asks = `${path} at ${owners.at.slice(0, 12)} gives ${demand.path} to ${whom}`;
  return certain
    ? {
        state: 'unapproved',
        detail: `${asks}, and too few of them approved it`,
        more: { reason: 'unauthorised' },
      }
    : { state: 'unknown', detail: `${asks}; whether who approved it is among them is not known`, more: {} };
}

function isSame(equivalence: Equivalence): boolean {
  return equivalence.kind === 'ancestor' || equivalence.kind === 'equal_tree';
}

function because(equivalence: Equivalence): string {
  return equivalence.detail ? `: ${equivalence.detail}` : '';
}

function hoursText(hours: number): string {
  return `${Math.round(hours * 10) / 10} h`;
}

function pullRequestEvidence(pullRequest: PullRequest, equivalence: Equivalence): Evidence[] {
  const merged =
    pullRequest.mergedAt === undefined ? pullRequest.state : `merged ${formatMicros(pullRequest.mergedAt)}`;
  return [
    {
      kind: 'pull_request',
      ref: pullRequest.url,
      detail: `#${pullRequest.number} by ${accountOf(pullRequest.author)}, head ${pullRequest.headSha.slice(0, 12)}, ${merged}`,
    },
    { kind: 'equivalence', ref: pullRequest.headSha, detail: `${equivalence.kind}${because(equivalence)}` },
  ];
}

export function bypassEvidence(sha: string, bypass: NonNullable<CommitFacts['bypass']>): Evidence {
  return {
    kind: 'bypass',
    ref: sha,
    detail: `${accountOf(bypass.actor)} bypassed ${bypass.rule} at ${formatMicros(bypass.at)}`,
  };
}
