import { formatMicros } from '../timestamp.js';
import { matchesAny } from '../verdict/policy-match.js';
import type { CommitApproval, Demand, Evidence, RobotException, UnapprovedReason } from './approval.js';
import { stancesAsOf } from './effective-reviews.js';
import type { Commit, CommitFacts, Equivalence, Person, PullRequest } from './facts.js';
import { type Judged, judgeImported, judgeReview } from './judge-review.js';
import { accountOf, type SamePerson } from './same-person.js';

const HOUR = 3_600 * 1e6;

/**
 * Whether a commit was approved by the time it went live (docs/verdicts.md): by as many people as asked for, on the
 * final head, none of whom contributed to it, all of whom were allowed to, before merge and before it went live, and
 * with what was merged being what was approved. Of several pull requests the best counts.
 */
export function evaluateCommit(facts: CommitFacts, demand: Demand, samePerson: SamePerson): CommitApproval {
  const { commit } = facts;
  const imported = importedJudgement(facts, demand, samePerson);
  const judged = facts.pullRequests
    .filter(({ pullRequest }) => isForBranch(pullRequest, demand.branch))
    .map(({ pullRequest, equivalence }) =>
      evaluatePullRequest(commit, pullRequest, equivalence, imported, demand, samePerson),
    );
  const elsewhere = facts.pullRequests.filter(({ pullRequest }) => !isForBranch(pullRequest, demand.branch));
  const best = judged.sort((a, b) => rank(a) - rank(b))[0] ?? withoutPullRequest(facts, imported, demand);
  for (const { pullRequest } of elsewhere)
    best.evidence.push({
      kind: 'pull_request',
      ref: pullRequest.url,
      detail: `#${pullRequest.number} is for ${pullRequest.baseRef}, not for ${demand.branch}`,
    });
  if (facts.bypass) best.evidence.push(bypassEvidence(commit.sha, facts.bypass));
  return afterSync(best, facts, demand);
}

const RANKS: Record<CommitApproval['state'], number> = {
  approved: 0,
  after_the_fact: 1,
  unknown: 2,
  self_approved: 3,
  unapproved: 4,
};

function rank(approval: CommitApproval): number {
  return RANKS[approval.state];
}

function isForBranch(pullRequest: PullRequest, branch: string | undefined): boolean {
  return branch === undefined || pullRequest.baseRef.replace(/^refs\/heads\//, '') === branch;
}

/** That something is missing is only known once the host has been asked after the commit went live. */
function afterSync(approval: CommitApproval, facts: CommitFacts, demand: Demand): CommitApproval {
  if (approval.state === 'approved' || approval.state === 'unknown') return approval;
  // What is there says enough: what was merged is not what was approved, whatever else may come.
  if (approval.reason === 'content_mismatch') return approval;
  const { hostSyncedAt } = facts;
  if (hostSyncedAt !== undefined && hostSyncedAt >= demand.deployedAt) return approval;
  const when =
    hostSyncedAt === undefined ? 'never' : `last at ${formatMicros(hostSyncedAt)}, before it went live`;
  const { reason: _, ...rest } = approval;
  return { ...rest, state: 'unknown', detail: `the repository's host was asked ${when}: ${approval.detail}` };
}

function evaluatePullRequest(
  commit: Commit,
  pullRequest: PullRequest,
  equivalence: Equivalence,
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
  if (late.length >= demand.approvals && isSame(equivalence)) {
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

function withoutPullRequest(facts: CommitFacts, imported: Judged[], demand: Demand): CommitApproval {
  const { commit, bypass } = facts;
  const base = {
    repo: commit.repo,
    sha: commit.sha,
    approvers: [] as string[],
    evidence: imported.map((judged) => judged.evidence),
  };
  const good = imported.filter(({ fault }) => fault === undefined);
  if (demand.approvals > 0 && good.length >= demand.approvals)
    return {
      ...base,
      state: 'approved',
      detail: `approved in another system by ${good.map(({ approver }) => accountOf(approver)).join(', ')}`,
      approvers: good.map(({ approver }) => accountOf(approver)),
    };
  const doubt = imported.find(({ fault }) => fault === 'doubt');
  if (doubt) return { ...base, state: 'unknown', detail: doubt.evidence.detail };
  const late = imported.filter(
    ({ fault, at }) =>
      fault === undefined || (fault === 'late' && at - demand.deployedAt <= demand.graceHours * HOUR),
  );
  if (demand.approvals > 0 && late.length >= demand.approvals)
    return {
      ...base,
      state: 'after_the_fact',
      detail: `approved in another system after it went live, within ${demand.graceHours} h`,
      approvers: late.map(({ approver }) => accountOf(approver)),
    };
  if (imported.length > 0 && imported.every(({ fault }) => fault === 'self'))
    return { ...base, state: 'self_approved', detail: 'its own authors approved it in another system' };
  if (bypass)
    return {
      ...base,
      state: 'unapproved',
      reason: 'bypass',
      detail: `${accountOf(bypass.actor)} pushed it past ${bypass.rule}`,
    };
  return {
    ...base,
    state: 'unapproved',
    reason: 'no_pr',
    detail: `no pull request brought it to ${demand.branch ?? 'its branch'}`,
  };
}

/** Approvals that other systems told of the commit itself. */
function importedJudgement(facts: CommitFacts, demand: Demand, samePerson: SamePerson): Judged[] {
  const contributors = [facts.commit.author, ...facts.commit.coAuthors];
  return distinct(
    facts.approvals.map((approval) => judgeImported(approval, contributors, demand, samePerson)),
    samePerson,
  );
}

/** Everyone who put something into a pull request: its author, its commits' people, who pushed last. Never a merge bot. */
function contributorsOf(commit: Commit, pullRequest: PullRequest, mergeBots: readonly string[]): Person[] {
  const people = [pullRequest.author];
  for (const { author, committer, coAuthors } of pullRequest.commits)
    people.push(author, committer, ...(coAuthors ?? []));
  // A host that doesn't list the commits leaves those of the merged one.
  if (pullRequest.commits.length === 0) people.push(commit.author, commit.committer, ...commit.coAuthors);
  if (pullRequest.lastPusher) people.push(pullRequest.lastPusher);
  return people.filter((person) => !isAccount(person, mergeBots));
}

function isAccount(person: Person, accounts: readonly string[]): boolean {
  return matchesAny(accounts, person.login) || matchesAny(accounts, person.email);
}

/** The robot that alone wrote a pull request and may do so unreviewed. */
function soleAuthor(
  pullRequest: PullRequest,
  commit: Commit,
  robots: readonly RobotException[],
): RobotException | undefined {
  return robots.find(
    (robot) =>
      robot.may === 'propose' &&
      matchesAny(robot.repositories, commit.repo) &&
      isAccount(pullRequest.author, robot.accounts) &&
      pullRequest.commits.length > 0 &&
      pullRequest.commits.every(
        ({ author, coAuthors }) =>
          isAccount(author, robot.accounts) &&
          (coAuthors ?? []).every((person) => isAccount(person, robot.accounts)),
      ) &&
      (!pullRequest.lastPusher || isAccount(pullRequest.lastPusher, robot.accounts)) &&
      (robot.paths.length === 0 || commit.changedPaths.every((path) => matchesAny(robot.paths, path))),
  );
}

/** One judgement per person, the best; who can't be told apart counts once. */
function distinct(judgements: readonly Judged[], samePerson: SamePerson): Judged[] {
  const kept: Judged[] = [];
  for (const judged of judgements)
    if (
      kept.every(
        (known) =>
          accountOf(known.approver) !== accountOf(judged.approver) &&
          samePerson(known.approver, judged.approver) === 'no',
      )
    )
      kept.push(judged);
  return kept;
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

function bypassEvidence(sha: string, bypass: NonNullable<CommitFacts['bypass']>): Evidence {
  return {
    kind: 'bypass',
    ref: sha,
    detail: `${accountOf(bypass.actor)} bypassed ${bypass.rule} at ${formatMicros(bypass.at)}`,
  };
}
