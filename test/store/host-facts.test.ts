import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChangeTicket, PullRequest, Review } from '../../core/approval/facts.js';
import { parseMicros } from '../../core/timestamp.js';
import { appendApprovals } from '../../store/facts/approvals.js';
import { upsertTickets } from '../../store/facts/change-tickets.js';
import { findDue, markDue, settleDue } from '../../store/facts/host-sync.js';
import { appendPermissions } from '../../store/facts/permissions.js';
import { upsertPullRequests } from '../../store/facts/pull-requests.js';
import { appendBypasses } from '../../store/facts/pushes.js';
import { findTicketHistory, findTickets, findTicketsBetween } from '../../store/queries/change-tickets.js';
import { commitKey, findCommitApprovals } from '../../store/queries/commit-approvals.js';
import { findPullRequest } from '../../store/queries/pull-requests.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';

let database: TestDatabase;
let client: PoolClient;
let repoID: number;
beforeAll(async () => {
  database = await createTestDatabase();
  client = await database.pool.connect();
  const { rows } = await client.query<{ id: number }>(
    `insert into repos (name, url, host_kind, project) values ('shop', 'https://git.example.com/acme/shop.git', 'github', 'acme/shop') returning id`,
  );
  repoID = rows[0]!.id;
});
afterAll(async () => {
  client.release();
  await database.drop();
});

const at = (time: string) => parseMicros(`2026-11-24T${time}Z`)!;
const date = (time: string) => new Date(`2026-11-24T${time}Z`);
const alice = { login: 'alice', kind: 'human' as const };
const bob = { login: 'bob', kind: 'human' as const };

function told(number: number, change: Partial<PullRequest>, updatedAt: number) {
  return {
    pullRequest: {
      number,
      title: 'Raise the limit',
      url: `https://git.example.com/acme/shop/pull/${number}`,
      state: 'open' as const,
      author: alice,
      baseRef: 'main',
      headSha: `${number}1`.padStart(40, 'a'),
      commits: [{ sha: `${number}1`.padStart(40, 'a'), author: alice, committer: alice }],
      createdAt: at('09:00:00'),
      reviews: [],
      ...change,
    },
    updatedAt,
    landed: [],
    commitsTold: true,
  };
}

function review(change: Partial<Review> = {}): Review {
  return { id: '7', reviewer: bob, state: 'approved', submittedAt: at('10:00:00'), ...change };
}

describe('pull requests', () => {
  it('keep the state that a review was given when it is dismissed, and the time it was first dismissed', async () => {
    await upsertPullRequests(
      client,
      repoID,
      [told(1, { reviews: [review()] }, at('10:00:00'))],
      date('10:01:00'),
    );
    const dismissed = review({ state: 'unknown', dismissedAt: at('11:00:00'), dismissedBy: alice });
    await upsertPullRequests(
      client,
      repoID,
      [told(1, { reviews: [dismissed] }, at('11:00:00'))],
      date('11:01:00'),
    );
    const found = await findPullRequest(client, 'shop', 1);
    expect(found!.pullRequest.reviews).toEqual([
      { ...review(), dismissedAt: at('11:00:00'), dismissedBy: alice },
    ]);
  });

  it('learn the state of a review that was first seen dismissed', async () => {
    const unknown = review({ state: 'unknown', dismissedAt: at('11:00:00') });
    await upsertPullRequests(
      client,
      repoID,
      [told(2, { reviews: [unknown] }, at('11:00:00'))],
      date('11:01:00'),
    );
    await upsertPullRequests(
      client,
      repoID,
      [told(2, { reviews: [review()] }, at('11:00:00'))],
      date('11:02:00'),
    );
    const found = await findPullRequest(client, 'shop', 2);
    expect(found!.pullRequest.reviews).toMatchObject([{ state: 'approved', dismissedAt: at('11:00:00') }]);
  });

  it('keep how many approvals were asked for when it was merged', async () => {
    const merged = {
      state: 'merged' as const,
      mergedAt: at('12:00:00'),
      mergedBy: bob,
      mergeSha: 'f'.repeat(40),
    };
    await upsertPullRequests(
      client,
      repoID,
      [told(3, { requiredApprovals: 1 }, at('10:00:00'))],
      date('10:01:00'),
    );
    await upsertPullRequests(
      client,
      repoID,
      [told(3, { ...merged, requiredApprovals: 2 }, at('12:00:00'))],
      date('12:01:00'),
    );
    await upsertPullRequests(
      client,
      repoID,
      [told(3, { ...merged, requiredApprovals: 0 }, at('12:00:00'))],
      date('13:00:00'),
    );
    expect((await findPullRequest(client, 'shop', 3))!.pullRequest).toMatchObject({
      state: 'merged',
      requiredApprovals: 2,
    });
  });

  it('are not set back by an older payload', async () => {
    await upsertPullRequests(client, repoID, [told(4, { title: 'New' }, at('12:00:00'))], date('12:01:00'));
    const older = { ...told(4, { title: 'Old' }, at('11:00:00')), commitsTold: false };
    await upsertPullRequests(client, repoID, [older], date('12:02:00'));
    const found = await findPullRequest(client, 'shop', 4);
    expect(found!.pullRequest).toMatchObject({ title: 'New', commits: [{ author: alice }] });
  });
});

describe('permissions', () => {
  const permissions = async () =>
    (
      await client.query(
        'select login, permission from permissions where repo_id = $1 order by login, seen_at',
        [repoID],
      )
    ).rows;

  it('get a row when they change, and reviews get the one that held when they were submitted', async () => {
    const carol = { login: 'carol', kind: 'human' as const };
    await appendPermissions(client, repoID, [{ login: 'carol', permission: 'read' }], date('09:00:00'));
    await appendPermissions(client, repoID, [{ login: 'carol', permission: 'read' }], date('10:30:00'));
    await upsertPullRequests(
      client,
      repoID,
      [
        told(
          5,
          {
            reviews: [
              review({ id: 'before', reviewer: carol }),
              review({ id: 'after', reviewer: carol, submittedAt: at('11:00:00') }),
            ],
          },
          at('11:00:00'),
        ),
      ],
      date('11:30:00'),
    );
    await appendPermissions(client, repoID, [{ login: 'carol', permission: 'write' }], date('11:30:00'));
    expect(await permissions()).toEqual([
      { login: 'carol', permission: 'read' },
      { login: 'carol', permission: 'write' },
    ]);
    expect((await findPullRequest(client, 'shop', 5))!.pullRequest.reviews).toMatchObject([
      { id: 'before', permission: 'read', permissionSeenAt: at('09:00:00') },
      { id: 'after', permission: 'write', permissionSeenAt: at('11:30:00') },
    ]);
    await appendPermissions(client, repoID, [{ login: 'carol', permission: 'none' }], date('12:00:00'));
    expect((await findPullRequest(client, 'shop', 5))!.pullRequest.reviews).toMatchObject([
      { permission: 'read' },
      { permission: 'write' },
    ]);
  });
});

describe('findCommitApprovals', () => {
  it('answers for many commits at once: by commit, by merge, by what a rebase became, and for none', async () => {
    const merge = '5'.repeat(40);
    const rebased = '6'.repeat(40);
    const pr = told(
      10,
      { state: 'merged', mergedAt: at('12:00:00'), mergeSha: merge, mergeMethod: 'rebase' },
      at('12:00:00'),
    );
    await upsertPullRequests(
      client,
      repoID,
      [{ ...pr, landed: [rebased, merge].map((sha) => ({ sha, author: alice, committer: bob })) }],
      date('12:01:00'),
    );
    await appendBypasses(client, repoID, [
      {
        id: '1',
        actor: bob,
        at: at('13:00:00'),
        rule: 'pull_request',
        ref: 'refs/heads/main',
        after: '8'.repeat(40),
        shas: ['7'.repeat(40), '8'.repeat(40)],
      },
    ]);
    await appendApprovals(client, [
      {
        id: 'a1',
        subject: { kind: 'commit', repo: 'shop', sha: '9'.repeat(40) },
        approver: bob,
        approvedAt: at('14:00:00'),
        origin: 'chatops',
      },
    ]);
    const key = (sha: string) => ({ repo: 'shop', sha });
    const shas = [merge, rebased, pr.pullRequest.headSha, '7'.repeat(40), '9'.repeat(40), '0'.repeat(40)];
    const found = await findCommitApprovals(client, [...shas, merge].map(key));
    expect(found.size).toBe(6);
    for (const sha of shas.slice(0, 3))
      expect(found.get(commitKey(key(sha)))!.pullRequests).toMatchObject([
        { repo: 'shop', number: 10, mergeSha: merge, commits: [{ sha: pr.pullRequest.headSha }] },
      ]);
    expect(found.get(commitKey(key('7'.repeat(40))))!.bypass).toEqual({
      actor: bob,
      at: at('13:00:00'),
      rule: 'pull_request',
    });
    expect(found.get(commitKey(key('9'.repeat(40))))!.approvals).toMatchObject([
      { id: 'a1', origin: 'chatops', approver: bob },
    ]);
    expect(found.get(commitKey(key('0'.repeat(40))))).toEqual({ pullRequests: [], approvals: [] });
  });
});

describe('what is due', () => {
  it('stays due when it was named again while it was fetched', async () => {
    await markDue(client, repoID, [{ number: 1, changedAt: at('10:00:00') }]);
    const [due] = await findDue(client, repoID, new Date(), 10);
    await markDue(client, repoID, [{ number: 1, changedAt: at('10:00:01') }]);
    await settleDue(client, repoID, due!);
    const [again] = await findDue(client, repoID, new Date(), 10);
    expect(again!.number).toBe(1);
    await settleDue(client, repoID, again!);
    expect(await findDue(client, repoID, new Date(), 10)).toEqual([]);
  });
});

describe('tickets', () => {
  const ticket = (change: Partial<ChangeTicket> = {}): ChangeTicket => ({
    system: 'servicenow',
    id: 'CHG0030001',
    kind: 'normal',
    state: 'Scheduled',
    approved: false,
    approvers: [],
    windowStart: at('10:00:00'),
    windowEnd: at('12:00:00'),
    configurationItems: ['shop'],
    ...change,
  });

  it('keep every state they were seen in, and are listed as last known', async () => {
    expect(
      await upsertTickets(client, [{ ticket: ticket(), updatedAt: at('08:00:00') }], date('08:01:00')),
    ).toBe(1);
    expect(
      await upsertTickets(client, [{ ticket: ticket(), updatedAt: at('08:00:00') }], date('08:02:00')),
    ).toBe(0);
    const approved = ticket({ approved: true, approvers: [{ person: bob, approvedAt: at('09:00:00') }] });
    await upsertTickets(client, [{ ticket: approved, updatedAt: at('09:00:00') }], date('09:01:00'));
    await upsertTickets(
      client,
      [{ ticket: ticket({ state: 'New' }), updatedAt: at('07:00:00') }],
      date('09:02:00'),
    );
    expect(
      (await findTicketHistory(client, 'CHG0030001')).map((state) => [
        state.ticket.state,
        state.ticket.approved,
      ]),
    ).toEqual([
      ['New', false],
      ['Scheduled', false],
      ['Scheduled', true],
    ]);
    expect(await findTickets(client, { item: 'shop' }, undefined, 10)).toMatchObject({
      items: [{ ticket: approved }],
      next: null,
    });
    expect(await findTicketsBetween(client, at('11:00:00'), at('11:30:00'))).toEqual([approved]);
    expect(await findTicketsBetween(client, at('12:00:00'), at('12:30:00'))).toEqual([]);
  });
});
