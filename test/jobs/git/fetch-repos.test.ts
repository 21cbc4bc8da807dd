import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { findCommits, findTouching } from '../../../store/queries/commits.js';
import { serveGit } from '../../harness/git-http.js';
import { TestRepo } from '../../harness/git-repo.js';
import { TestMirrors } from './mirrors.js';

let mirrors: TestMirrors;
let repo: TestRepo;
beforeAll(async () => {
  mirrors = await TestMirrors.create();
});
afterAll(() => mirrors.remove());
beforeEach(() => {
  repo = new TestRepo();
});
afterEach(async () => {
  repo.remove();
  await mirrors.clear();
});

const commit = async (sha: string) =>
  (await findCommits(mirrors.database.pool, [{ repo: 'shop', sha }])).get(`shop ${sha}`);

describe('indexing', () => {
  it('gives commits as facts: people, trailers, parents, changed paths', async () => {
    const first = repo.commit({ files: { 'apps/web.yaml': 'a: 1\n', README: 'hello\n' }, message: 'Begin' });
    repo.checkout('feature', 'main');
    repo.git('mv', 'apps/web.yaml', 'apps/site.yaml');
    const moved = repo.commit({
      message: 'Rename web\n\nWhy not.\n\nCo-authored-by: Carol <carol@example.com>\nTicket: CHG-1',
      author: 'Bob <bob@example.com>',
      committer: 'Merge Bot <bot@example.com>',
    });
    repo.checkout('main');
    const other = repo.commit({ files: { README: 'hello you\n' } });
    const merged = repo.merge('feature', { author: 'Dora <dora@example.com>' });
    const repoID = await mirrors.add('shop', repo.url);
    expect(await mirrors.fetch()).toBe(4);

    expect(await commit(moved)).toEqual({
      repo: 'shop',
      sha: moved,
      tree: repo.git('rev-parse', `${moved}^{tree}`),
      parents: [first],
      author: { name: 'Bob', email: 'bob@example.com' },
      authoredAt: Date.UTC(2026, 2, 2, 9, 2) * 1000,
      committer: { name: 'Merge Bot', email: 'bot@example.com' },
      committedAt: Date.UTC(2026, 2, 2, 9, 2) * 1000,
      coAuthors: [{ name: 'Carol', email: 'carol@example.com' }],
      signature: 'none',
      subject: 'Rename web',
      changedPaths: ['apps/site.yaml', 'apps/web.yaml'],
    });
    expect((await commit(merged))?.parents).toEqual([other, moved]);
    // Against its first parent.
    expect((await commit(merged))?.changedPaths).toEqual(['apps/site.yaml', 'apps/web.yaml']);
    expect(await mirrors.rows('select trailers from commits where sha = $1', [moved])).toEqual([
      {
        trailers: [
          ['Co-authored-by', 'Carol <carol@example.com>'],
          ['Ticket', 'CHG-1'],
        ],
      },
    ]);
    expect(await findTouching(mirrors.database.pool, repoID, 'apps', 10)).toEqual([merged, moved, first]);
    expect(await findTouching(mirrors.database.pool, repoID, 'app', 10)).toEqual([]);
    expect(await mirrors.rows('select head_ref, fetch_error from repos')).toEqual([
      { head_ref: 'refs/heads/main', fetch_error: null },
    ]);
  });

  it('reads only what is new, whatever the encoding and the oddities of old commits', async () => {
    repo.commit({ files: { a: '1' } });
    await mirrors.add('shop', repo.url);
    expect(await mirrors.fetch()).toBe(1);
    expect(await mirrors.fetch()).toBe(0);
    writeFileSync(join(repo.folder, 'message'), Buffer.from('Gr\xfc\xdfe\n', 'latin1'));
    const odd = repo.commit({ args: ['-F', 'message', '--cleanup=verbatim'].slice(2), message: 'x' });
    const raw = `tree ${repo.git('rev-parse', 'HEAD^{tree}')}\nparent ${odd}\nauthor nobody\ncommitter  <> 99999999999999999 +0000\nencoding ISO-8859-1\n\n`;
    const object = Buffer.concat([Buffer.from(raw), Buffer.from('Gr\xfc\xdfe\n', 'latin1')]);
    const sha = execFileSync(
      'git',
      ['-C', repo.folder, 'hash-object', '-t', 'commit', '-w', '--stdin', '--literally'],
      {
        input: object,
        encoding: 'utf8',
      },
    ).trim();
    repo.git('update-ref', 'refs/heads/main', sha);
    expect(await mirrors.fetch()).toBe(2);
    expect(await commit(sha)).toMatchObject({
      subject: 'Grüße',
      author: { name: 'nobody', email: '' },
      committer: { name: '', email: '' },
      committedAt: 0,
    });
  });

  it('takes submodules for the entries they are, and never fetches them', async () => {
    const inner = new TestRepo('inner');
    inner.commit({ files: { x: '1' } });
    repo.git('-c', 'protocol.file.allow=always', 'submodule', '--quiet', 'add', inner.url, 'vendored');
    const sha = repo.commit({ message: 'Add a submodule' });
    inner.remove();
    await mirrors.add('shop', repo.url);
    expect(await mirrors.fetch()).toBe(1);
    expect((await commit(sha))?.changedPaths).toEqual(['.gitmodules', 'vendored']);
  });

  it('takes secrets out of messages', async () => {
    const sha = repo.commit({ message: 'Use token hunter2\n\nIt was hunter2.' });
    await mirrors.add('shop', repo.url);
    await mirrors.fetch({ redactText: (text) => text.replaceAll('hunter2', '[redacted]') });
    expect((await commit(sha))?.subject).toBe('Use token [redacted]');
    expect(JSON.stringify(await mirrors.rows('select * from commits'))).not.toContain('hunter2');
  });

  it('goes on after a run that broke off', async () => {
    for (let i = 0; i < 5; i++) repo.commit({ files: { a: String(i) } });
    const repoID = await mirrors.add('shop', repo.url);
    await mirrors.fetch();
    // As if it had broken off after two of five, before the refs were written, with a killed git's lock in the mirror.
    await mirrors.rows('delete from commits where seq > (select min(seq) + 1 from commits)');
    await mirrors.rows('delete from commit_paths where sha not in (select sha from commits)');
    await mirrors.rows('delete from refs');
    writeFileSync(join(mirrors.mirror(repoID), 'packed-refs.lock'), '');
    execFileSync('touch', ['-d', '1 hour ago', join(mirrors.mirror(repoID), 'packed-refs.lock')]);
    expect(await mirrors.fetch()).toBe(3);
    expect(await mirrors.rows('select count(*)::int as n from commits')).toEqual([{ n: 5 }]);
    expect(await mirrors.rows('select name from refs')).toEqual([{ name: 'refs/heads/main' }]);
  });
});

describe('rewritten history', () => {
  it('is kept, and noted', async () => {
    const base = repo.commit({ files: { a: '1' } });
    const lost = repo.commit({ files: { a: '2' } });
    repo.git('tag', '-a', 'v1', '-m', 'one');
    const repoID = await mirrors.add('shop', repo.url);
    await mirrors.fetch();
    repo.git('reset', '--quiet', '--hard', base);
    const other = repo.commit({ files: { a: '3' } });
    repo.git('tag', '-f', '-a', 'v1', '-m', 'one again');
    repo.git('branch', 'side', base);
    await mirrors.fetch();
    repo.git('branch', '-D', 'side');
    await mirrors.fetch();

    expect(
      await mirrors.rows(
        'select name, kind, before_sha, after_sha from ref_updates where since is not null order by id',
      ),
    ).toEqual([
      { name: 'refs/heads/main', kind: 'forced', before_sha: lost, after_sha: other },
      { name: 'refs/heads/side', kind: 'created', before_sha: null, after_sha: base },
      { name: 'refs/tags/v1', kind: 'forced', before_sha: lost, after_sha: other },
      { name: 'refs/heads/side', kind: 'deleted', before_sha: base, after_sha: null },
    ]);
    expect(await mirrors.rows('select kind, detail from repo_findings order by id')).toMatchObject([
      {
        kind: 'history_rewritten',
        detail: { ref: 'refs/heads/main', before: lost, after: other, lostCommits: 1 },
      },
      { kind: 'tag_moved', detail: { ref: 'refs/tags/v1' } },
    ]);
    expect(await commit(lost)).toMatchObject({ sha: lost });
    // It outlives the garbage collection that would take what no ref leads to.
    const git = (...args: string[]) =>
      execFileSync('git', ['--git-dir', mirrors.mirror(repoID), ...args], { encoding: 'utf8' }).trim();
    git('gc', '--quiet', '--prune=now');
    expect(git('cat-file', '-t', lost)).toBe('commit');
  });
});

describe('a repository that can’t be fetched', () => {
  it('says what, where and what to do, and keeps none of the others', async () => {
    repo.commit();
    await mirrors.add('gone', 'file:///nowhere/to/be/found');
    await mirrors.add('ssh', 'ssh://git@127.0.0.1:1/x.git');
    await mirrors.add('shop', repo.url);
    expect(await mirrors.fetch()).toBe(1);
    const errors = Object.fromEntries(
      (await mirrors.rows('select name, fetch_error from repos')).map((row) => [row.name, row.fetch_error]),
    );
    expect(errors.shop).toBeNull();
    expect(errors.gone).toMatch(
      /^git fetch ended with 128: .*file:\/\/\/nowhere\/to\/be\/found: there is no such repository/,
    );
    expect(errors.ssh).toBe(
      'fetching by ssh is switched off; use another URL, or add ssh to WHOCHANGED_GIT_PROTOCOLS',
    );
    expect(await mirrors.registry.metrics()).toContain('whochanged_git_fetch_errors_total{repo="gone"} 1');
    expect(await mirrors.registry.metrics()).toMatch(
      /whochanged_git_last_fetch_timestamp_seconds\{repo="shop"\} \d+/,
    );
    // The longer it fails, the rarer it is tried.
    await mirrors.rows(`update repos set fetch_failures = 10 where name = 'gone'`);
    mirrors.now -= 3_600_000 - 120_000;
    await mirrors.fetch();
    const [gone] = await mirrors.rows(`select fetch_failures from repos where name = 'gone'`);
    expect(gone.fetch_failures).toBe(10);
  });
});

describe('over http', () => {
  it('gives the credential to the host, and to nothing else', async () => {
    const secret = 'tok-5f1e7c0d2b';
    const sha = repo.commit({ files: { a: '1' } });
    const server = await serveGit(repo.folder, { user: 'oauth2', password: secret });
    try {
      const url = `${server.url}/repo`;
      await mirrors.add('shop', url, {
        host_kind: 'gitlab',
        project: 'o/repo',
        credential: 'env:WHOCHANGED_CREDENTIAL_GIT',
      });
      const environment = { WHOCHANGED_CREDENTIAL_GIT: 'not-that-one-9a8b' };
      const options = { protocols: ['http' as const], credentials: { folder: mirrors.folder, environment } };
      expect(await mirrors.fetch(options)).toBe(0);
      const [{ fetch_error: error }] = await mirrors.rows('select fetch_error from repos');
      expect(error).toMatch(/the host refused the credential/);

      environment.WHOCHANGED_CREDENTIAL_GIT = secret;
      expect(await mirrors.fetch(options)).toBe(1);
      expect(await commit(sha)).toMatchObject({ sha });
      const files = readdirSync(mirrors.folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
        /config|HEAD|logs/.test(name),
      );
      const everything = [
        ...files
          .filter((name) => /config$/.test(name))
          .map((name) => readFileSync(join(mirrors.folder, name), 'utf8')),
        JSON.stringify(await mirrors.rows('select * from repos')),
        mirrors.logged,
      ].join('\n');
      for (const word of [secret, Buffer.from(`oauth2:${secret}`).toString('base64'), 'not-that-one'])
        expect(everything).not.toContain(word);
    } finally {
      await server.stop();
    }
  });
});
