import { formatMicros } from '../timestamp.js';
import { matchesAny } from '../verdict/policy-match.js';
import type { Demand, Evidence } from './approval.js';
import type { Stance } from './effective-reviews.js';
import type { Commit, ImportedApproval, Person, PullRequest } from './facts.js';
import { accountOf, type SamePerson } from './same-person.js';

/**
 * One approval, and the first thing that keeps it from counting.
 *
 * - `self`: its giver contributed to what they approved
 * - `stale`: it was for another head
 * - `bot`: no person gave it, and no exception covers that
 * - `unauthorised`: its giver lacked the permission at the time
 * - `late`: it came after the merge, or after it went live
 * - `doubt`: something that it depends on isn't known
 * - `withdrawn`: it was dismissed
 */
export interface Judged {
  approver: Person;
  at: number;
  /** Whether it stood as an approval at all. */
  given: boolean;
  fault?: 'self' | 'stale' | 'bot' | 'unauthorised' | 'late' | 'doubt' | 'withdrawn';
  /** The recorded exception that lets a machine approve. */
  robot?: string;
  evidence: Evidence;
}

interface Context {
  commit: Commit;
  pullRequest: PullRequest;
  contributors: readonly Person[];
  demand: Demand;
  samePerson: SamePerson;
}

const PERMISSIONS = ['none', 'read', 'triage', 'write', 'maintain', 'admin'] as const;

/** Judges one reviewer's stance; undefined where it is no approval and never was. */
export function judgeReview(
  { review, stance }: Stance,
  context: Context,
  beforeMerge: boolean,
): Judged | undefined {
  const { pullRequest, demand, commit, contributors, samePerson } = context;
  const who = accountOf(review.reviewer);
  const base = { approver: review.reviewer, at: review.submittedAt };
  const judged = (fault: Judged['fault'], detail: string, more: Partial<Judged> = {}): Judged => ({
    ...base,
    given: fault !== 'withdrawn',
    ...(fault && { fault }),
    ...more,
    evidence: { kind: 'review', ref: review.id, detail },
  });
  if (stance === 'changes_requested') return undefined;
  if (stance === 'unknown') return judged('doubt', `what ${who} said in review is not known`);
  const stale = review.sha !== undefined && review.sha !== pullRequest.headSha;
  if (stance === 'dismissed') {
    if (review.state !== 'approved') return undefined;
    const detail = `${who}'s approval was dismissed ${formatMicros(review.dismissedAt ?? review.submittedAt)}, before the merge`;
    return stale
      ? judged('stale', `${detail}: it was for ${review.sha!.slice(0, 12)}, not the final head`)
      : judged('withdrawn', detail);
  }
  const robot = demand.robots.find(
    (item) =>
      item.may === 'approve' &&
      matchesAny(item.repositories, commit.repo) &&
      (matchesAny(item.accounts, review.reviewer.login) || matchesAny(item.accounts, review.reviewer.email)),
  );
  if (review.reviewer.kind === 'bot' && !robot)
    return judged('bot', `${who} is a bot, whose approval counts only by a recorded exception`);
  const same = contributors.map((person) => ({ person, sameness: samePerson(person, review.reviewer) }));
  const self = same.find(({ sameness }) => sameness === 'yes');
  if (self) return judged('self', `${who} contributed to what they approved`);
  if (stale)
    return judged(
      'stale',
      `${who} approved ${review.sha!.slice(0, 12)}, and the final head is ${pullRequest.headSha.slice(0, 12)}`,
    );
  if (
    review.sha === undefined &&
    !(pullRequest.lastPushedAt !== undefined && review.submittedAt > pullRequest.lastPushedAt)
  )
    return judged('doubt', `which head ${who} approved is not known`);
  if (!robot) {
    if (review.permission === undefined) {
      if (demand.permission !== 'none')
        return judged('doubt', `what ${who} was allowed at the time is not known`);
    } else if (PERMISSIONS.indexOf(review.permission) < PERMISSIONS.indexOf(demand.permission))
      return judged(
        'unauthorised',
        `${who} had only the permission ${review.permission}, and ${demand.permission} is asked for`,
      );
    const doubtful = same.find(({ sameness }) => sameness === 'unknown');
    if (doubtful)
      return judged(
        'doubt',
        `whether ${who} and ${accountOf(doubtful.person)}, who contributed, are two people is not known`,
      );
  }
  const told = `${who} approved ${pullRequest.headSha.slice(0, 12)} at ${formatMicros(review.submittedAt)}`;
  const exception = robot ? { robot: robot.name } : {};
  if (!beforeMerge || review.submittedAt > demand.deployedAt)
    return judged('late', `${told}, after ${beforeMerge ? 'it went live' : 'the merge'}`, exception);
  return judged(undefined, robot ? `${told} (exception ${robot.name}: ${robot.reason})` : told, exception);
}

/** Judges an approval of the commit itself that another system told. */
export function judgeImported(
  approval: ImportedApproval,
  contributors: readonly Person[],
  demand: Demand,
  samePerson: SamePerson,
): Judged {
  const who = accountOf(approval.approver);
  const told = `${who} approved it at ${formatMicros(approval.approvedAt)}, as ${approval.origin} told`;
  const judged = (fault: Judged['fault'], detail: string): Judged => ({
    approver: approval.approver,
    at: approval.approvedAt,
    given: true,
    ...(fault && { fault }),
    evidence: { kind: 'approval', ref: approval.url ?? approval.id, detail },
  });
  if (!matchesAny(demand.importedApprovals, approval.origin))
    return judged('unauthorised', `${told}; the policy doesn't list that under importedApprovals`);
  if (approval.approver.kind === 'bot') return judged('bot', `${told}; ${who} is a bot`);
  const sameness = contributors.map((person) => samePerson(person, approval.approver));
  if (sameness.includes('yes')) return judged('self', `${told}; ${who} contributed to it`);
  if (sameness.includes('unknown'))
    return judged('doubt', `${told}; whether ${who} is another person than its author is not known`);
  return approval.approvedAt > demand.deployedAt
    ? judged('late', `${told}, after it went live`)
    : judged(undefined, told);
}

/** One judgement per person, the best; who can't be told apart counts once. */
export function distinct(judgements: readonly Judged[], samePerson: SamePerson): Judged[] {
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
