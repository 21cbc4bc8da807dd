import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../harness/api-client.js';
import { TestRepo } from '../harness/git-repo.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

let api: RunningApi;
let repo: TestRepo;
beforeAll(async () => {
  api = await startApi({ WHOCHANGED_GIT_PROTOCOLS: 'https,ssh,file', WHOCHANGED_GIT_FETCH_SECONDS: '86400' });
  repo = new TestRepo();
});
afterAll(async () => {
  repo.remove();
  await api.stop();
});

describe('repo', () => {
  it('adds, fetches, shows and disables; a commit is shown; rewritten history is told', async () => {
    const first = repo.commit({ files: { 'apps/web.yaml': 'a: 1\n' }, message: 'Begin' });
    const lost = repo.commit({
      files: { 'apps/web.yaml': 'a: 2\n' },
      message: 'Change web\n\nBecause.\n\nCo-authored-by: Carol <carol@example.com>',
    });
    expect(await api.cli(['repo', 'add', 'shop', repo.url, '--default-branch', 'main'])).toMatchObject({
      code: 0,
      stdout: 'shop is added\n',
    });
    expect(await api.cli(['repo', 'fetch', 'shop'])).toMatchObject({ code: 0, stderr: '' });
    expect((await api.cli(['repo', 'list'])).stdout).toMatch(/^shop +git +ok +\S+ ago +never +2 +file:/m);

    const shown = await api.cli(['commit', lost.slice(0, 8), '--utc']);
    expect(shown.stdout).toBe(
      [
        `Commit:      ${lost} in shop`,
        'Author:      Alice <alice@example.com>, 2026-03-02 09:02:00',
        'Committer:   Alice <alice@example.com>, 2026-03-02 09:02:00',
        'With:        Carol <carol@example.com>',
        'Signature:   none',
        `Parents:     ${first.slice(0, 12)}`,
        'Refs:        refs/heads/main',
        expect.stringMatching(/^Seen: {8}.*, refs\/heads\/main brought here \(created\)$/),
        '',
        '    Change web',
        '',
        '    Because.',
        '',
        '    Co-authored-by: Carol <carol@example.com>',
        '',
        '  apps/web.yaml',
        '',
      ]
        .map((line) => (typeof line === 'string' ? line : shown.stdout.split('\n')[7]!))
        .join('\n'),
    );
    expect(shown.stdout.split('\n')[7]).toMatch(/^Seen: {8}.*, refs\/heads\/main brought here \(created\)$/);

    repo.git('reset', '--quiet', '--hard', first);
    repo.commit({ files: { 'apps/web.yaml': 'a: 3\n' } });
    expect((await api.cli(['repo', 'fetch', 'shop'])).stdout).toBe('shop is fetched: 1 new commit\n');
    const status = await api.cli(['repo', 'status', 'shop']);
    expect(status.stdout).toMatch(new RegExp(`forced +refs/heads/main +${lost.slice(0, 12)} → `));
    expect((await api.cli(['findings'])).stdout).toMatch(/ shop +history_rewritten +refs\/heads\/main /);
    expect((await api.cli(['commit', lost])).stdout).toContain('Refs:        none points at it');

    expect((await api.cli(['repo', 'disable', 'shop'])).stdout).toBe('shop is disabled\n');
    expect(await api.cli(['repo', 'fetch', 'shop'])).toMatchObject({
      code: 2,
      stderr: 'whochanged: "shop" is disabled\n`whochanged repo enable` it first\n',
    });
    expect((await api.cli(['repo', 'remove', 'shop'])).code).toBe(0);
    expect((await api.cli(['commit', lost])).code).toBe(4);
  });

  it('says what failed, and what to do', async () => {
    await api.cli(['repo', 'add', 'gone', 'file:///nowhere/at/all']);
    const fetched = await api.cli(['repo', 'fetch', 'gone']);
    expect(fetched.code).toBe(5);
    expect(fetched.stderr).toMatch(/^whochanged: gone: git fetch .*: there is no such repository there/);
    expect((await api.cli(['repo', 'status', 'gone'])).stdout).toMatch(/^State: {7}failing$/m);
    const metrics = await ask(api, '/metrics');
    expect(metrics.text).toMatch(/whochanged_git_fetch_errors_total\{repo="gone"\} [1-9]/);
  });

  it.each([
    [['https://bob:hunter2@git.example.com/x.git'], /holds a user or password/],
    [['http://git.example.com/x.git'], /fetching by http is switched off\nuse another URL, or add http/],
    [['git@git.example.com:x.git'], /ssh needs a key and the hosts that are known\ngive --ssh-key-file/],
    [['https://git.example.com/x.git', '--credential', 'env:DATABASE_URL'], /body credential: /],
    [['https://git.example.com/x.git', '--credential', 'hunter2'], /body credential: /],
  ])('refuses %s and keeps nothing of it', async (args, problem) => {
    const refused = await api.cli(['repo', 'add', 'bad', ...args]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(problem);
    expect(refused.stderr + api.log()).not.toContain('hunter2');
    expect((await ask(api, '/v1/repos/bad')).status).toBe(404);
  });

  it('is for admins to add: what it names is read with whochanged’s own rights', async () => {
    const { json } = await ask(api, '/v1/tokens', { method: 'POST', body: { name: 'op', role: 'operator' } });
    const added = await ask(api, '/v1/repos', {
      method: 'POST',
      token: json.token,
      body: { name: 'x', url: 'https://git.example.com/x.git' },
    });
    expect(added.status).toBe(403);
  });
});
