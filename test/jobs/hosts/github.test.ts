import { generateKeyPairSync } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseMicros } from '../../../core/timestamp.js';
import { commitKey, findCommitApprovals } from '../../../store/queries/commit-approvals.js';
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

async function hostOf(
  repo: Partial<HostRepo>,
  options: Parameters<typeof startGitHost>[2] = {},
): Promise<GitHost> {
  const host = await startGitHost('github', { repos: [{ project: 'acme/shop', ...repo }] }, options);
  hosts.push(host);
  return host;
}

/** Alice's, approved by Bob, merged by Carol. */
function approved(number: number, change: Partial<HostPullRequest> = {}): HostPullRequest {
  return {
    number,
    author: 'alice',
    commits: [
      { sha: sha('1'), author: 'alice' },
      { sha: sha('2'), author: 'dave', committer: 'alice', coAuthors: ['erin'] },
    ],
    createdAt: at('09:00:00'),
    pushes: [
      { pusher: 'alice', sha: sha('1'), at: at('09:00:00') },
      { pusher: 'dave', sha: sha('2'), at: at('09:30:00') },
    ],
    reviews: [{ reviewer: 'bob', state: 'approved', at: at('10:00:00') }],
    merged: { at: at('11:00:00'), by: 'carol', sha: sha('a'), method: 'squash' },
    ...change,
  };
}

describe('a sync with GitHub', () => {
  it('imports who wrote, pushed, reviewed and merged, with what was allowed and asked for', async () => {
    const host = await hostOf({
      permissions: { bob: 'maintain' },
      requiredApprovals: { main: 1 },
      pullRequests: [approved(7)],
    });
    await syncing.addRepo('github', host, 'acme/shop');
    expect(await syncing.sync()).toBeUndefined();
    const pr = await syncing.pullRequest('shop', 7);
    const seen = pr.reviews[0]!.permissionSeenAt!;
    expect(Math.abs(seen / 1000 - Date.now())).toBeLessThan(120_000);
    const person = (login: string) => ({
      name: login,
      email: `${login}@example.com`,
      login,
      kind: 'human',
    });
    expect(pr).toEqual({
      repo: 'shop',
      number: 7,
      title: 'Change 7',
      url: 'https://git.example.com/acme/shop/pull/7',
      state: 'merged',
      author: { login: 'alice', kind: 'human' },
      lastPusher: { login: 'dave', kind: 'human' },
      lastPushedAt: micros('09:30:00'),
      baseRef: 'main',
      headSha: sha('2'),
      commits: [
        { sha: sha('1'), author: person('alice'), committer: person('alice') },
        {
          sha: sha('2'),
          author: person('dave'),
          committer: person('alice'),
          coAuthors: [{ name: 'erin', email: 'erin@example.com' }],
        },
      ],
      createdAt: micros('09:00:00'),
      mergedAt: micros('11:00:00'),
      mergedBy: { login: 'carol', kind: 'human' },
      mergeSha: sha('a'),
      mergeMethod: 'squash',
      requiredApprovals: 1,
      reviews: [
        {
          id: '7000',
          reviewer: { login: 'bob', kind: 'human' },
          state: 'approved',
          submittedAt: micros('10:00:00'),
          sha: sha('2'),
          permission: 'maintain',
          permissionSeenAt: seen,
        },
      ],
    });
    const found = await findCommitApprovals(syncing.database.pool, [{ repo: 'shop', sha: sha('a') }]);
    const facts = found.get(commitKey({ repo: 'shop', sha: sha('a') }))!;
    expect(facts.pullRequests).toEqual([pr]);
    expect(Math.abs(facts.hostSyncedAt! / 1000 - Date.now())).toBeLessThan(120_000);
  });

  it('tells merges, squashes, rebases, queues and fast-forwards apart, and what became of each commit', async () => {
    const merged = { at: at('11:00:00'), by: 'carol' };
    const single = [{ sha: sha('3'), author: 'alice' }];
    const host = await hostOf({
      pullRequests: [
        approved(1, { merged: { ...merged, sha: sha('a'), method: 'merge', parents: [sha('b'), sha('2')] } }),
        approved(2, { merged: { ...merged, sha: sha('c'), method: 'squash' } }),
        approved(3, { merged: { ...merged, sha: sha('e'), method: 'rebase', landed: [sha('d'), sha('e')] } }),
        approved(4, { merged: { ...merged, sha: sha('f'), method: 'queue', parents: [sha('b'), sha('2')] } }),
        approved(5, {
          commits: single,
          pushes: [],
          merged: { ...merged, sha: sha('3'), method: 'fast_forward' },
        }),
        approved(6, { commits: single, pushes: [], merged: { ...merged, sha: sha('8'), method: 'rebase' } }),
        approved(8, { commits: single, pushes: [], merged: { ...merged, sha: sha('9'), method: 'squash' } }),
      ],
    });
    await syncing.addRepo('github', host, 'acme/shop');
    expect(await syncing.sync()).toBeUndefined();
    const methods = [];
    for (const number of [1, 2, 3, 4, 5, 6, 8])
      methods.push((await syncing.pullRequest('shop', number)).mergeMethod);
    expect(methods).toEqual(['merge', 'squash', 'rebase', 'queue', 'fast_forward', 'rebase', 'squash']);
    const key = { repo: 'shop', sha: sha('d') };
    const found = await findCommitApprovals(syncing.database.pool, [key]);
    expect(found.get(commitKey(key))!.pullRequests.map((pr) => pr.number)).toEqual([3]);
  });

  it('keeps what a dismissed review was, when it was dismissed and by whom, whether seen before or only after', async () => {
    const review = { reviewer: 'bob', state: 'approved' as const, at: at('10:00:00') };
    const dismissed = { ...review, dismissedAt: at('10:30:00'), dismissedBy: 'carol' };
    const first = approved(1, { reviews: [review] });
    const host = await hostOf({ pullRequests: [first, approved(2, { reviews: [dismissed] })] });
    await syncing.addRepo('github', host, 'acme/shop');
    await syncing.sync();
    const now = new Date().toISOString();
    first.reviews = [{ ...dismissed, dismissedAt: now }];
    await syncing.sync();
    const reviewOf = async (number: number) => (await syncing.pullRequest('shop', number)).reviews[0];
    expect(await reviewOf(1)).toMatchObject({
      state: 'approved',
      dismissedAt: parseMicros(now),
      dismissedBy: { login: 'carol' },
    });
    expect(await reviewOf(2)).toMatchObject({ state: 'approved', dismissedAt: micros('10:30:00') });
  });

  it('takes the trial merge of what was closed unmerged for none', async () => {
    const host = await hostOf({
      pullRequests: [{ ...approved(1), merged: undefined as never, closedAt: at('11:00:00') }],
    });
    delete host.state.repos[0]!.pullRequests![0]!.merged;
    await syncing.addRepo('github', host, 'acme/shop');
    await syncing.sync();
    const pr = await syncing.pullRequest('shop', 1);
    expect(pr.state).toBe('closed');
    expect(pr.mergeSha).toBeUndefined();
  });

  it('asks by GraphQL for the commits that REST leaves out', async () => {
    const commits = Array.from({ length: 260 }, (_, i) => ({
      sha: i.toString(16).padStart(40, '0'),
      author: 'alice',
    }));
    const host = await hostOf({ pullRequests: [approved(1, { commits, pushes: [] })] });
    await syncing.addRepo('github', host, 'acme/shop');
    expect(await syncing.sync()).toBeUndefined();
    expect((await syncing.pullRequest('shop', 1)).commits).toHaveLength(260);
    expect(host.requests.filter((request) => request.url === '/graphql')).toHaveLength(3);
  });

  it('imports bypasses of rules with every commit that they brought', async () => {
    const host = await hostOf({
      bypasses: [
        { actor: 'root', at: at('12:00:00'), before: sha('b'), after: sha('d'), shas: [sha('c'), sha('d')] },
      ],
    });
    await syncing.addRepo('github', host, 'acme/shop');
    await syncing.sync();
    const key = { repo: 'shop', sha: sha('c') };
    const found = await findCommitApprovals(syncing.database.pool, [key]);
    expect(found.get(commitKey(key))!.bypass).toEqual({
      actor: { login: 'root' },
      at: micros('12:00:00'),
      rule: 'pull_request',
    });
  });

  it('imports approvals of deployments as approvals of the commit', async () => {
    const host = await hostOf({
      environmentReviews: [
        { environment: 'production', reviewer: 'bob', state: 'approved', sha: sha('a'), at: at('12:00:00') },
        { environment: 'production', reviewer: 'eve', state: 'rejected', sha: sha('b'), at: at('12:00:00') },
      ],
    });
    await syncing.addRepo('github', host, 'acme/shop');
    await syncing.sync();
    const keys = [sha('a'), sha('b')].map((one) => ({ repo: 'shop', sha: one }));
    const found = await findCommitApprovals(syncing.database.pool, keys);
    expect(found.get(commitKey(keys[0]!))!.approvals).toMatchObject([
      { approver: { login: 'bob' }, origin: 'github environment production', approvedAt: micros('12:00:00') },
    ]);
    expect(found.get(commitKey(keys[1]!))!.approvals).toEqual([]);
  });

  it('says what it may not see, and imports the rest', async () => {
    const host = await hostOf(
      { pullRequests: [approved(1)], requiredApprovals: { main: 1 } },
      { administration: false },
    );
    const repoID = await syncing.addRepo('github', host, 'acme/shop');
    expect(await syncing.sync()).toBeUndefined();
    expect((await syncing.pullRequest('shop', 1)).requiredApprovals).toBe(1);
    const { rows } = await syncing.database.pool.query<{ limits: string[] }>(
      'select limits from host_syncs where repo_id = $1',
      [repoID],
    );
    expect(rows[0]!.limits).toEqual([
      expect.stringMatching(/^branch protection: .*403; Resource not accessible .*administration=read/),
      expect.stringMatching(/^bypassed rules: .*administration=read/),
    ]);
  });

  it('gets a token for a GitHub App by its key', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const pem = (key: typeof privateKey, type: 'pkcs8' | 'spki') =>
      key.export({ format: 'pem', type: type as 'pkcs8' });
    const app = { id: '12', installation: '34', publicKey: String(pem(publicKey, 'spki')) };
    const host = await hostOf({ pullRequests: [approved(1)] }, { app });
    await syncing.addRepo('github', host, 'acme/shop');
    syncing.environment.WHOCHANGED_CREDENTIAL_SHOP = JSON.stringify({
      github_app: { app_id: 12, installation_id: 34, private_key: pem(privateKey, 'pkcs8') },
    });
    expect(await syncing.sync()).toBeUndefined();
    expect((await syncing.pullRequest('shop', 1)).number).toBe(1);
  });
});

describe('the cost of a sync', () => {
  let host: GitHost;
  const fetches = () => host.requests.filter((request) => /\/pulls\/\d+$/.test(request.url)).length;
  const listings = () => host.requests.filter((request) => /\/pulls\?/.test(request.url));

  it('follows what changed: nothing costs one unchanged answer, one pull request only its own requests', async () => {
    const prs = Array.from({ length: 101 }, (_, i) =>
      approved(i + 1, { reviews: [], pushes: [], createdAt: at(`0${1 + (i % 8)}:00:00`) }),
    );
    for (const pr of prs) delete pr.merged;
    host = await hostOf({ pullRequests: prs });
    await syncing.addRepo('github', host, 'acme/shop');
    expect(await syncing.sync()).toBeUndefined();
    expect(fetches()).toBe(101);
    expect(listings()).toHaveLength(2);

    host.requests.length = 0;
    expect(await syncing.sync()).toBeUndefined();
    expect(fetches()).toBe(0);
    expect(host.requests.map((request) => request.status)).toEqual([304]);

    prs[3]!.reviews = [{ reviewer: 'bob', state: 'approved', at: new Date().toISOString() }];
    host.requests.length = 0;
    expect(await syncing.sync()).toBeUndefined();
    expect(fetches()).toBe(1);
    expect((await syncing.pullRequest('shop', 4)).reviews).toHaveLength(1);
  });
});

describe('a host that refuses', () => {
  const state = async (repoID: number) =>
    (
      await syncing.database.pool.query<{
        sync_error: string | null;
        synced_at: string | null;
        next_at: string;
      }>(
        `select sync_error, synced_at, next_at from repos r join host_syncs h on h.repo_id = r.id where r.id = $1`,
        [repoID],
      )
    ).rows[0]!;

  it('is asked again after a moment where it failed for a moment', async () => {
    const host = await hostOf({ pullRequests: [approved(1)] });
    host.faults.push({ path: /\/reviews$/, times: 2, status: 502 });
    host.faults.push({ path: /\/commits$/, times: 1, status: 403, headers: { 'retry-after': '0' } });
    await syncing.addRepo('github', host, 'acme/shop');
    expect(await syncing.sync()).toBeUndefined();
    expect((await syncing.pullRequest('shop', 1)).reviews).toHaveLength(1);
  });

  it('is left alone until its limit is reset, and the sync goes on where it broke off', async () => {
    const host = await hostOf({ pullRequests: [approved(1), approved(2), approved(3)] });
    const repoID = await syncing.addRepo('github', host, 'acme/shop');
    host.rate.remaining = 12;
    expect(await syncing.sync()).toBeUndefined();
    const limited = await state(repoID);
    expect(limited.synced_at).toBeNull();
    expect(limited.sync_error).toMatch(/limits requests/);
    expect(Math.abs(Date.parse(limited.next_at) / 1000 - host.rate.reset)).toBeLessThan(30);
    const asked = host.requests.length;
    expect(await syncing.run()).toBeUndefined();
    expect(host.requests).toHaveLength(asked);

    host.rate.remaining = 5000;
    await syncing.sync();
    expect(await state(repoID)).toMatchObject({ sync_error: null, synced_at: expect.any(String) });
    for (const number of [1, 2, 3]) await syncing.pullRequest('shop', number);
    const twice = host.requests.filter((request) => request.url.endsWith('/pulls/3'));
    expect(twice.length).toBeLessThan(3);
  });

  it('is left alone after a secondary limit that it tells in words', async () => {
    const host = await hostOf({ pullRequests: [approved(1)] });
    const repoID = await syncing.addRepo('github', host, 'acme/shop');
    const body = { message: 'You have exceeded a secondary rate limit. Please wait a few minutes.' };
    host.faults.push({ path: /./, times: 99, status: 403, body });
    expect(await syncing.sync()).toBeUndefined();
    expect(Date.parse((await state(repoID)).next_at)).toBeGreaterThan(Date.now() + 30_000);
    expect(host.requests).toHaveLength(1);
  });

  it('fails with what is wrong, without the token, and only its own repository', async () => {
    const [good, bad] = [
      await hostOf({ pullRequests: [approved(1)] }),
      await hostOf({ project: 'acme/other' }),
    ];
    const badID = await syncing.addRepo('github', bad, 'acme/other');
    await syncing.addRepo('github', good, 'acme/shop');
    syncing.environment.WHOCHANGED_CREDENTIAL_OTHER = 'ghp_wrong_and_secret';
    const error = await syncing.sync();
    expect(error).toMatch(/^other: .*401; Bad credentials; the credential is not valid, or no longer$/);
    expect(error).not.toContain('ghp_wrong');
    expect((await state(badID)).sync_error).toMatch(/401/);
    expect((await syncing.pullRequest('shop', 1)).number).toBe(1);
    expect(await syncing.registry.metrics()).toMatch(/whochanged_host_sync_errors_total\{repo="other"\} 1/);
  });

  it('costs one pull request where only that one fails, and is not taken for synced', async () => {
    const host = await hostOf({ pullRequests: [approved(1), approved(2)] });
    const repoID = await syncing.addRepo('github', host, 'acme/shop');
    host.faults.push({ path: /\/pulls\/1\/reviews$/, times: 99, status: 500 });
    await syncing.sync();
    expect((await syncing.pullRequest('shop', 2)).number).toBe(2);
    expect(await state(repoID)).toMatchObject({
      synced_at: null,
      sync_error: expect.stringMatching(/^1 could not be imported: #1: .*500/),
    });
  });

  it('never gets a credential sent elsewhere by a page or a redirect', async () => {
    const host = await hostOf({ pullRequests: [approved(1)] });
    const elsewhere = await hostOf({});
    await syncing.addRepo('github', host, 'acme/shop');
    const location = `${elsewhere.apiURL}/repos/acme/shop/pulls`;
    host.faults.push({ path: /\/pulls$/, times: 1, status: 301, headers: { location } });
    expect(await syncing.sync()).toMatch(/points to .* a credential is not sent there/);
    expect(elsewhere.requests).toEqual([]);
  });
});
