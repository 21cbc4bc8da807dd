import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseMicros } from '../../../core/timestamp.js';
import type { HostPullRequest, HostRepo } from '../../harness/git-host/state.js';
import { type GitHost, startGitHost } from '../../harness/git-host.js';
import { type Syncing, startSyncing } from './syncing.js';

const sha = (digit: string) => digit.repeat(40);
const at = (time: string) => `2026-11-24T${time}Z`;
const micros = (time: string) => parseMicros(at(time))!;

let syncing: Syncing;
const hosts: GitHost[] = [];
beforeAll(async () => {
  syncing = await startSyncing();
});
afterAll(() => syncing.stop());
afterEach(async () => {
  await syncing.clear();
  for (const host of hosts.splice(0)) await host.stop();
});

async function sync(
  kind: 'gitlab' | 'gerrit',
  repo: Partial<HostRepo>,
  options: Parameters<typeof startGitHost>[2] = {},
): Promise<GitHost> {
  const host = await startGitHost(kind, { repos: [{ project: 'acme/shop', ...repo }] }, options);
  hosts.push(host);
  await syncing.addRepo(kind, host, 'acme/shop');
  expect(await syncing.sync()).toBeUndefined();
  return host;
}

/** Written by Alice, rebased by a bot, approved by Alice. */
const rebased: HostPullRequest = {
  number: 11,
  author: 'renovate',
  commits: [{ sha: sha('2'), author: 'alice', committer: 'project_7_bot' }],
  createdAt: at('09:00:00'),
  pushes: [
    { pusher: 'renovate', sha: sha('1'), at: at('09:00:00') },
    { pusher: 'project_7_bot', sha: sha('2'), at: at('09:30:00') },
  ],
  reviews: [{ reviewer: 'alice', state: 'approved', at: at('10:00:00') }],
  merged: { at: at('11:00:00'), by: 'carol', sha: sha('a'), method: 'merge' },
};

describe('a sync with GitLab', () => {
  it('tells authors, committers, pushers and approvers apart, as a rebase by a bot needs', async () => {
    await sync('gitlab', {
      requiredApprovals: { main: 1 },
      permissions: { alice: 'maintain' },
      pullRequests: [rebased],
    });
    expect(await syncing.pullRequest('shop', 11)).toMatchObject({
      state: 'merged',
      author: { login: 'renovate' },
      lastPusher: { login: 'project_7_bot', kind: 'bot' },
      lastPushedAt: micros('09:30:00'),
      headSha: sha('2'),
      commits: [
        { author: { email: 'alice@example.com' }, committer: { email: 'project_7_bot@example.com' } },
      ],
      mergedBy: { login: 'carol' },
      mergeSha: sha('a'),
      mergeMethod: 'merge',
      requiredApprovals: 1,
      reviews: [
        {
          reviewer: { login: 'alice' },
          state: 'approved',
          submittedAt: micros('10:00:00'),
          sha: sha('2'),
          counted: true,
          permission: 'maintain',
        },
      ],
    });
  });

  it('tells approvals that were taken back, or reset by a push, from those that stand', async () => {
    const review = { reviewer: 'bob', state: 'approved' as const };
    const { merged: _, ...open } = rebased;
    await sync('gitlab', {
      pullRequests: [
        {
          ...open,
          reviews: [
            { ...review, at: at('09:10:00'), dismissedAt: at('09:30:00'), dismissedBy: 'project_7_bot' },
            { ...review, reviewer: 'carol', at: at('09:40:00'), dismissedAt: at('09:50:00') },
            { ...review, reviewer: 'dave', at: at('09:15:00') },
          ],
        },
      ],
    });
    const { reviews, state } = await syncing.pullRequest('shop', 11);
    expect(state).toBe('open');
    expect(reviews).toMatchObject([
      { reviewer: { login: 'bob' }, sha: sha('1'), dismissedAt: micros('09:30:00') },
      { reviewer: { login: 'dave' }, sha: sha('1'), counted: true },
      { reviewer: { login: 'carol' }, sha: sha('2'), dismissedAt: micros('09:50:00') },
    ]);
    expect(reviews[1]!.dismissedAt).toBeUndefined();
  });

  it('follows its pages, and asks next time only for what was updated since', async () => {
    const many = Array.from({ length: 101 }, (_, i) => ({
      ...rebased,
      number: i + 1,
      reviews: [],
      pushes: [],
    }));
    const host = await sync('gitlab', { pullRequests: many });
    const listed = () => host.requests.filter((request) => /merge_requests\?/.test(request.url));
    expect(listed()).toHaveLength(2);
    const { rows } = await syncing.database.pool.query('select count(*)::integer as n from pull_requests');
    expect(rows[0].n).toBe(101);
    host.requests.length = 0;
    await syncing.sync();
    expect(host.requests).toHaveLength(1);
    expect(host.requests[0]!.url).toContain('updated_after=');
  });

  it('waits when GitLab says so by 429', async () => {
    const host = await sync('gitlab', { pullRequests: [rebased] });
    host.rate.remaining = 0;
    expect(await syncing.sync()).toBeUndefined();
    const { rows } = await syncing.database.pool.query(
      'select next_at, sync_error from host_syncs join repos on id = repo_id',
    );
    expect(Math.abs(Date.parse(rows[0].next_at) / 1000 - host.rate.reset)).toBeLessThan(30);
    expect(rows[0].sync_error).toMatch(/limits requests/);
  });
});

describe('a sync with Gerrit', () => {
  it('tells the uploader, author and committer of the reviewed patch set, and votes with the right to give them', async () => {
    await sync('gerrit', {
      requiredApprovals: { main: 1 },
      pullRequests: [
        {
          ...rebased,
          reviews: [
            { reviewer: 'bob', state: 'approved', at: at('10:00:00') },
            { reviewer: 'eve', state: 'commented', at: at('10:05:00') },
          ],
        },
      ],
    });
    expect(await syncing.pullRequest('shop', 11)).toMatchObject({
      state: 'merged',
      author: { login: 'renovate' },
      lastPusher: { login: 'project_7_bot' },
      // What was reviewed; submitting it wrote another commit.
      headSha: sha('2'),
      mergeSha: sha('a'),
      mergeMethod: 'rebase',
      mergedBy: { login: 'carol' },
      commits: [{ sha: sha('2'), author: { name: 'alice' }, committer: { name: 'project_7_bot' } }],
      requiredApprovals: 1,
      reviews: [
        {
          reviewer: { login: 'bob' },
          state: 'approved',
          sha: sha('2'),
          counted: true,
          permission: 'write',
          permissionSeenAt: micros('10:00:00'),
        },
        { reviewer: { login: 'eve' }, state: 'commented' },
      ],
    });
  });

  it('ends a vote that a new patch set outdated, and tells a forced submit', async () => {
    const vote = { reviewer: 'bob', state: 'approved' as const, at: at('09:10:00') };
    await sync('gerrit', {
      requiredApprovals: { main: 1 },
      pullRequests: [
        { ...rebased, reviews: [{ ...vote, dismissedAt: at('09:30:00'), dismissedBy: 'project_7_bot' }] },
      ],
      bypasses: [{ actor: 'carol', at: at('11:00:00'), before: sha('b'), after: sha('a') }],
    });
    const pr = await syncing.pullRequest('shop', 11);
    expect(pr.reviews).toMatchObject([{ sha: sha('1'), dismissedAt: micros('09:30:00') }]);
    expect(pr.bypass).toEqual({
      actor: expect.objectContaining({ login: 'carol' }),
      at: micros('11:00:00'),
      rule: 'submit requirements',
    });
  });

  it('follows its pages', async () => {
    const many = Array.from({ length: 101 }, (_, i) => ({ ...rebased, number: i + 1, reviews: [] }));
    const host = await sync('gerrit', { pullRequests: many });
    expect(host.requests.filter((request) => request.url.startsWith('/a/changes/?'))).toHaveLength(2);
    const { rows } = await syncing.database.pool.query('select count(*)::integer as n from pull_requests');
    expect(rows[0].n).toBe(101);
  });
});
