import { formatMicros } from '../timestamp.js';
import type { CommitApproval, Demand } from './approval.js';
import { isAccount } from './contributors.js';
import { bypassEvidence, evaluatePullRequest, HOUR, ownersProblem } from './evaluate-pull-request.js';
import type { CommitFacts, PullRequest } from './facts.js';
import { distinct, type Judged, judgeImported } from './judge-review.js';
import { accountOf, type SamePerson } from './same-person.js';

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
    .map((told) => evaluatePullRequest(commit, told, imported, demand, samePerson));
  const elsewhere = facts.pullRequests.filter(({ pullRequest }) => !isForBranch(pullRequest, demand.branch));
  const best =
    judged.sort((a, b) => rank(a) - rank(b))[0] ?? withoutPullRequest(facts, imported, demand, samePerson);
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

function withoutPullRequest(
  facts: CommitFacts,
  imported: Judged[],
  demand: Demand,
  samePerson: SamePerson,
): CommitApproval {
  const { commit, bypass } = facts;
  const base = {
    repo: commit.repo,
    sha: commit.sha,
    approvers: [] as string[],
    evidence: imported.map((judged) => judged.evidence),
  };
  const good = imported.filter(({ fault }) => fault === undefined);
  const enough = demand.approvals > 0 && good.length >= demand.approvals;
  const givers = good.map(({ approver }) => approver);
  const unowned = enough && ownersProblem(commit, facts.owners, givers, demand, samePerson);
  if (unowned) return { ...base, state: unowned.state, detail: unowned.detail, ...unowned.more };
  if (enough)
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
  const lateGivers = late.map(({ approver }) => approver);
  if (
    demand.approvals > 0 &&
    late.length >= demand.approvals &&
    !ownersProblem(commit, facts.owners, lateGivers, demand, samePerson)
  )
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
  const { author, coAuthors, committer } = facts.commit;
  const contributors = [author, ...coAuthors, ...(isAccount(committer, demand.mergeBots) ? [] : [committer])];
  return distinct(
    facts.approvals.map((approval) => judgeImported(approval, contributors, demand, samePerson)),
    samePerson,
  );
}
