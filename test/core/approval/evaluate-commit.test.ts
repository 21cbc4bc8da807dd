import { describe, expect, it } from 'vitest';
import type { Demand } from '../../../core/approval/approval.js';
import { evaluateCommit } from '../../../core/approval/evaluate-commit.js';
import type { CommitFacts, Equivalence, Person, PullRequest, Review } from '../../../core/approval/facts.js';
import { byAccount } from '../../../core/approval/same-person.js';

const HOUR = 3_600 * 1e6;
const DEPLOYED = Date.UTC(2026, 2, 2, 12) * 1000;
const MERGED = DEPLOYED - HOUR;
const HEAD = 'b'.repeat(40);
const OLD = 'a'.repeat(40);
const person = (login: string): Person => ({ login, email: `${login}@example.com`, kind: 'human' });
const [alice, bob, carol] = [person('alice'), person('bob'), person('carol')];
const renovate: Person = { login: 'renovate[bot]', kind: 'bot' };

let reviews = 0;
const review = (reviewer: Person, state: Review['state'], more: Partial<Review> = {}): Review => ({
  id: `r${++reviews}`,
  reviewer,
  state,
  submittedAt: MERGED - HOUR + reviews,
  sha: HEAD,
  permission: 'write',
  ...more,
});
const pullRequest = (given: Review[], more: Partial<PullRequest> = {}): PullRequest => ({
  repo: 'shop',
  number: 7,
  title: 'Bump web',
  url: 'https://git.example.com/shop/pull/7',
  state: 'merged',
  author: alice,
  lastPusher: alice,
  lastPushedAt: MERGED - 2 * HOUR,
  baseRef: 'main',
  headSha: HEAD,
  commits: [{ sha: HEAD, author: alice, committer: alice }],
  createdAt: MERGED - 3 * HOUR,
  mergedAt: MERGED,
  mergeSha: HEAD,
  reviews: given,
  ...more,
});
const facts = (
  pr: PullRequest | undefined,
  more: Partial<CommitFacts> & { equivalence?: Equivalence } = {},
): CommitFacts => ({
  commit: {
    repo: 'shop',
    sha: HEAD,
    tree: 'c'.repeat(40),
    parents: [],
    author: alice,
    authoredAt: MERGED - 2 * HOUR,
    committer: alice,
    committedAt: MERGED - 2 * HOUR,
    coAuthors: [],
    signature: 'none',
    subject: 'Bump web',
    changedPaths: ['web/deployment.yaml'],
  },
  pullRequests: pr ? [{ pullRequest: pr, equivalence: more.equivalence ?? { kind: 'ancestor' } }] : [],
  approvals: [],
  hostSyncedAt: DEPLOYED + 100 * HOUR,
  ...more,
});
const demand: Demand = {
  approvals: 1,
  permission: 'write',
  graceHours: 24,
  deployedAt: DEPLOYED,
  branch: 'main',
  now: DEPLOYED + 100 * HOUR,
  mergeBots: ['web-flow'],
  importedApprovals: ['webhook:*'],
  robots: [],
};
const judge = (given: CommitFacts, more: Partial<Demand> = {}) => {
  const { state, reason } = evaluateCommit(given, { ...demand, ...more }, byAccount);
  return reason === undefined ? state : `${state}(${reason})`;
};
const reviewed = (given: Review[], more: Partial<PullRequest> = {}) => judge(facts(pullRequest(given, more)));

describe('what reviews are worth', () => {
  it('counts the last stance of each reviewer, comments aside', () => {
    expect(reviewed([review(bob, 'approved')])).toBe('approved');
    expect(reviewed([review(bob, 'approved'), review(bob, 'commented')])).toBe('approved');
    expect(reviewed([review(bob, 'approved'), review(bob, 'changes_requested')])).toBe(
      'unapproved(insufficient)',
    );
    expect(reviewed([review(bob, 'changes_requested'), review(bob, 'approved')])).toBe('approved');
  });

  it('never revives what stood before a dismissal, and leaves dismissals after the merge alone', () => {
    const before = { dismissedAt: MERGED - 60e6 };
    expect(reviewed([review(bob, 'approved', before)])).toBe('unapproved(insufficient)');
    expect(reviewed([review(bob, 'approved'), review(bob, 'changes_requested', before)])).toBe(
      'unapproved(insufficient)',
    );
    expect(reviewed([review(bob, 'changes_requested'), review(bob, 'approved', before)])).toBe(
      'unapproved(insufficient)',
    );
    expect(reviewed([review(bob, 'approved', { dismissedAt: MERGED + 60e6 })])).toBe('approved');
  });

  it('wants the final head reviewed', () => {
    expect(reviewed([review(bob, 'approved', { sha: OLD })])).toBe('unapproved(stale)');
    expect(reviewed([review(bob, 'approved', { sha: OLD, dismissedAt: MERGED - 60e6 })])).toBe(
      'unapproved(stale)',
    );
    const { sha: _, ...headless } = review(bob, 'approved');
    expect(reviewed([headless])).toBe('approved');
    expect(reviewed([headless], { lastPushedAt: MERGED - 1 })).toBe('unknown');
  });

  it('wants another person than any who contributed', () => {
    expect(reviewed([review(alice, 'approved')])).toBe('self_approved');
    const commits = (author: Person, committer = author, coAuthors: Person[] = []) => [
      { sha: HEAD, author, committer, coAuthors },
    ];
    expect(
      reviewed([review(alice, 'approved')], {
        author: renovate,
        lastPusher: renovate,
        commits: commits(alice, renovate),
      }),
    ).toBe('self_approved');
    expect(reviewed([review(bob, 'approved')], { lastPusher: bob })).toBe('self_approved');
    expect(reviewed([review(bob, 'approved')], { commits: commits(alice, alice, [bob]) })).toBe(
      'self_approved',
    );
    expect(reviewed([review(bob, 'approved')], { commits: commits(alice, { login: 'web-flow' }) })).toBe(
      'approved',
    );
    expect(reviewed([review(bob, 'approved'), review(alice, 'approved')])).toBe('approved');
  });

  it('says unknown where an account may be a contributor’s', () => {
    const commits = [{ sha: HEAD, author: { email: 'someone@home.example' }, committer: alice }];
    expect(reviewed([review(bob, 'approved')], { commits })).toBe('unknown');
    expect(
      judge(facts(pullRequest([review(bob, 'approved'), review(carol, 'approved')])), { approvals: 2 }),
    ).toBe('approved');
  });

  it('wants the permission of that time, and a person', () => {
    expect(reviewed([review(bob, 'approved', { permission: 'read' })])).toBe('unapproved(unauthorised)');
    const { permission: _, ...unseen } = review(bob, 'approved');
    expect(reviewed([unseen])).toBe('unknown');
    expect(reviewed([review(renovate, 'approved')])).toBe('unapproved(insufficient)');
    const robot = {
      name: 'renovate',
      accounts: ['renovate*'],
      repositories: ['shop'],
      paths: [],
      may: 'approve' as const,
      reason: 'SEC-1',
    };
    expect(
      evaluateCommit(
        facts(pullRequest([review(renovate, 'approved')])),
        { ...demand, robots: [robot] },
        byAccount,
      ),
    ).toMatchObject({ state: 'approved', robot: 'renovate' });
  });
});

describe('what was merged, and when', () => {
  it('must be what was approved', () => {
    const pr = pullRequest([review(bob, 'approved')]);
    expect(judge(facts(pr, { equivalence: { kind: 'equal_tree' } }))).toBe('approved');
    expect(judge(facts(pr, { equivalence: { kind: 'different' } }))).toBe('unapproved(content_mismatch)');
    expect(judge(facts(pr, { equivalence: { kind: 'unknown' } }))).toBe('unknown');
  });

  it('must be approved before it goes live, or soon after', () => {
    const late = (hours: number) =>
      reviewed([review(bob, 'approved', { submittedAt: DEPLOYED + hours * HOUR })]);
    expect(late(3)).toBe('after_the_fact');
    expect(late(24)).toBe('after_the_fact');
    expect(late(30)).toBe('unapproved(insufficient)');
  });

  it('must be for the branch that is deployed', () => {
    expect(reviewed([review(bob, 'approved')], { baseRef: 'dev' })).toBe('unapproved(no_pr)');
  });

  it('tells pushes without a pull request from bypasses, and both from not having asked', () => {
    expect(judge(facts(undefined))).toBe('unapproved(no_pr)');
    expect(
      judge(facts(undefined, { bypass: { actor: carol, at: MERGED, rule: 'require a pull request' } })),
    ).toBe('unapproved(bypass)');
    expect(judge(facts(undefined, { hostSyncedAt: DEPLOYED - HOUR }))).toBe('unknown');
    const { hostSyncedAt: _, ...never } = facts(undefined);
    expect(judge(never)).toBe('unknown');
  });

  it('takes approvals of other systems from where the policy says so', () => {
    const approval = {
      id: 'a1',
      subject: { kind: 'commit' as const, repo: 'shop', sha: HEAD },
      approver: bob,
      approvedAt: MERGED,
      origin: 'webhook:board',
    };
    expect(judge(facts(undefined, { approvals: [approval] }))).toBe('approved');
    expect(judge(facts(undefined, { approvals: [{ ...approval, approver: alice }] }))).toBe('self_approved');
    expect(judge(facts(undefined, { approvals: [{ ...approval, origin: 'csv:x' }] }))).toBe(
      'unapproved(no_pr)',
    );
  });
});
