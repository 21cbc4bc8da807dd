import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EXIT } from '../../cli/exit.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

const NO_CHANGE = '01a20dc9-9350-8a1e-80d7-f3b269a4d073';

let api: RunningApi;
beforeAll(async () => {
  api = await startApi();
  const cluster = new Cluster();
  await api.post(eventList([cluster.deployment('create', 'web', { image: 'web:1' })]));
});
afterAll(() => api.stop());

/** What is wrong, and where, on the first line; what to do on the second. Nothing on stdout, no stack. */
async function fails(
  args: string[],
  env: Record<string, string>,
  expected: { code: number; says: RegExp; advises: RegExp },
): Promise<void> {
  const { code, stdout, stderr } = await api.cli(args, env);
  const lines = stderr.trimEnd().split('\n');
  expect({ code, stdout, first: lines[0], last: lines.at(-1) }).toEqual({
    code: expected.code,
    stdout: '',
    first: expect.stringMatching(expected.says),
    last: expect.stringMatching(expected.advises),
  });
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(stderr).not.toContain(api.adminToken);
}

describe('a wrong command line', () => {
  it.each<[string[], RegExp, RegExp]>([
    [['--bogus'], /^error: unknown option '--bogus'$/, /--help/],
    [['source', 'lst'], /^error: unknown command 'lst'$/, /Did you mean list\?|--help/],
    [['show'], /^error: missing required argument 'CHANGE_ID\|TYPE\/NAME'$/, /--help/],
    [['-o', 'xml'], /^whochanged: -o xml: expected one of table, /, /name$/],
    [['--since', 'yesterday'], /^whochanged: --since yesterday: no time$/, /30m, 2h, 7d/],
    [['--until', '2026-13-45'], /^whochanged: --until 2026-13-45: no time$/, /30m, 2h, 7d/],
    [['--limit', '0'], /^whochanged: --limit 0: expected a whole number from 1 to 1000$/, /1000$/],
    [['audit-policy', '-o', 'json'], /: -o json: this command gives a file/, /leave -o out/],
    [['gate', 'manifest', 'default', '-o', 'json'], /: -o json: this command gives a file/, /leave -o out/],
    [['checkpoint', '-o', 'yaml'], /: -o yaml: this command gives a file/, /leave -o out/],
    [
      ['report', 'soc2-cc8.1', '--since', '1h', '-o', 'json'],
      /: -o json: a report has forms/,
      /--format: html/,
    ],
    [['export', '-o', 'json'], /: -o json: an export is a stream of rows$/, /-o ndjson or -o csv/],
    [['show', NO_CHANGE, '--at', '2h', '--fields'], /: --at, --fields: of a change/, /name an object/],
    [['diff', NO_CHANGE, '--from', '2h'], /: --from: of a change/, /name an object/],
    [['show', 'web'], /^whochanged: "web" is not TYPE\/NAME$/, /deploy\/web/],
    [['--kind', 'nonsense'], /^whochanged: .*kind/, /./],
    [['quarantine', 'show', 'x'], /^whochanged: ID x: expected a number$/, /quarantine list/],
    [
      ['token', 'create', 'x', '--role', 'king'],
      /^error: option '--role <role>' argument 'king' is invalid/,
      /--help/,
    ],
  ])('%j is a usage error', async (args, says, advises) => {
    await fails(args, {}, { code: EXIT.usage, says, advises });
  });
});

describe('nothing there', () => {
  it('exits with 4 for an unknown object, change or token', async () => {
    const expected = { code: EXIT.notFound, advises: /./ };
    await fails(
      ['show', 'deploy/nope', '-n', 'shop'],
      {},
      { ...expected, says: /no deploy\/nope was ever seen in namespace shop$/ },
    );
    await fails(['show', NO_CHANGE], {}, { ...expected, says: /no change has the id 01a20dc9/ });
    await fails(['token', 'revoke', '4711'], {}, { ...expected, says: /no valid token has the id 4711/ });
    await fails(['actor', 'nobody'], {}, { ...expected, says: /nobody called "nobody" was ever seen/ });
  });

  it('exits with 1 when an object has no change in the time asked for, and says how to find more', async () => {
    const { stdout } = await api.cli(['deploy/web', '--since', '1000w', '-o', 'json']);
    const [{ at }] = (JSON.parse(stdout) as { items: [{ at: string }] }).items;
    await fails(
      ['deploy/web', '--since', '1s'],
      {},
      {
        code: EXIT.nothing,
        says: /^whochanged: nothing matches since 1s$/,
        advises: new RegExp(`^the newest that does is \\d+d old: say --since ${at.slice(0, 19)}Z$`),
      },
    );
    const again = await api.cli(['deploy/web', '--since', `${at.slice(0, 19)}Z`]);
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('deployments/web') });
    await fails(
      ['--actor', 'nobody', '--exit-code'],
      {},
      { code: EXIT.nothing, says: /^whochanged: nothing matches, at any time$/, advises: /--all/ },
    );
  });

  it.each<[string[], number, RegExp, RegExp]>([
    [['show', 'deploy/wbe'], 4, /^whochanged: no deploy\/wbe was ever seen$/, /^did you mean deploy\/web\?$/],
    [['history', 'deploy', 'we'], 4, /no deploy\/we was ever seen$/, /^did you mean deploy\/web\?$/],
    [['diff', 'deploy/web', '-n', 'sohp'], 4, /in namespace sohp$/, /^one is known with -n shop$/],
    [['rollback', 'svc/web', '--to', '1h'], 4, /no svc\/web/, /^of that name there is deployments\/web$/],
    [['deploy/wbe', '--since', '1000w'], 1, /no deploy\/wbe was ever seen$/, /^did you mean deploy\/web\?$/],
    [['-n', 'nope', '--exit-code'], 1, /: nothing was ever seen in namespace nope$/, /^see what there is: /],
    [['shwo', 'deploy/web'], 2, /: there is no command shwo$/, /^did you mean show deploy\/web\?$/],
    [
      ['--actor', 'alice', '--exit-code'],
      1,
      /: nothing matches, at any time$/,
      /^usernames are matched whole: did you mean alice@example\.com\?$/,
    ],
    [['--verb', 'rbac_grant', '--exit-code'], 1, /, at any time$/, /: say --kind rbac_grant$/],
    [['--field', 'replicas', '--exit-code'], 1, /, at any time$/, /whole path, as in spec\.replicas/],
    [['--cluster', 'nope', '--exit-code'], 1, /: no cluster is called nope$/, /^there is default$/],
    [['get', 'deploy', '-n', 'shop'], 2, /: there is no command get$/, /^leave it out: whochanged deploy$/],
    [['--since', '1h', '--until', '2h'], 2, /: since \(\S+\) is not before until \(\S+\)$/, /an hour$/],
    [['deploy/web', 'deploy/api'], 2, /is neither TYPE\/NAME nor TYPE NAME$/, /one object at a time$/],
  ])('is told from what was mistyped: %j', async (args, code, says, advises) => {
    await fails(args, {}, { code, says, advises });
  });

  it('is told from a mistyped namespace or cluster by lists that are no lists of changes, too', async () => {
    const mistyped = await api.cli(['access', '-n', 'nope']);
    expect(mistyped).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/^nothing was ever seen in namespace nope\n/),
    });
    const elsewhere = await api.cli(['secret-reads', '--cluster', 'nope']);
    expect(elsewhere).toMatchObject({ code: 0, stderr: 'no cluster is called nope\nthere is default\n' });
    expect(await api.cli(['access', '-n', 'shop'])).toMatchObject({ code: 0, stderr: 'nothing matches\n' });
  });

  it('takes the words that kubectl takes', async () => {
    const [slash, words, everywhere] = await Promise.all([
      api.cli(['deploy/web', '-n', 'shop', '--since', '1000w', '-o', 'name']),
      api.cli(['deploy', 'web', '-n', 'shop', '--since', '1000w', '-o', 'name']),
      api.cli(['Deployment', 'web', '-n=nope', '-A', '--since', '999w7d', '-o=name']),
    ]);
    expect(slash.stdout).toMatch(/^[0-9a-f-]{36}\n$/);
    expect([words, everywhere]).toEqual([slash, slash]);
  });

  it('is an empty list elsewhere, which a mistyped command is told from', async () => {
    expect(await api.cli(['histroy'])).toMatchObject({
      code: 0,
      stdout: '',
      stderr: 'nothing matches the type "histroy"\ndid you mean the command history?\n',
    });
    const { code, stdout } = await api.cli(['-n', 'nope', '-o', 'json']);
    expect({ code, answer: JSON.parse(stdout) as unknown }).toEqual({
      code: 0,
      answer: { items: [], next: null, completeness: { gaps: 0, verdict: 'unknown' } },
    });
  });
});

describe('a token', () => {
  it('that is wrong is told by where it came from, not by what it is', async () => {
    const file = join(api.folder, 'wrong-token');
    writeFileSync(file, 'wc_wrong-secret-value\n');
    const expected = { code: EXIT.auth, advises: /whochanged token create/ };
    await fails(
      [],
      { WHOCHANGED_TOKEN: 'wc_wrong-secret-value' },
      { ...expected, says: /the token from WHOCHANGED_TOKEN is not valid at http/ },
    );
    await fails(
      ['--token-file', file],
      {},
      { ...expected, says: /the token from \S+\/wrong-token is not valid at http/ },
    );
    const { stderr } = await api.cli(['--token-file', file]);
    expect(stderr).not.toContain('wc_wrong');
  });

  it('that is missing is asked for', async () => {
    await fails(
      [],
      { WHOCHANGED_TOKEN: '' },
      { code: EXIT.auth, says: /wants a token, and none is set$/, advises: /WHOCHANGED_TOKEN_FILE/ },
    );
  });

  it('is found in the data folder of the server beside which one asks, as in its container', async () => {
    const { code, stdout } = await api.cli(['deploy/web', '--since', '1000w'], {
      WHOCHANGED_TOKEN: '',
      WHOCHANGED_DATA_DIR: api.folder,
    });
    expect({ code, stdout }).toEqual({ code: EXIT.ok, stdout: expect.stringContaining('deployments/web') });
  });

  it('that can’t be one is not sent', async () => {
    const expected = { code: EXIT.usage, advises: /token create/ };
    await fails(
      [],
      { WHOCHANGED_TOKEN: 'two\nlines' },
      { ...expected, says: /^whochanged: WHOCHANGED_TOKEN holds no token: / },
    );
    writeFileSync(join(api.folder, 'empty'), '\n');
    await fails(
      ['--token-file', 'empty'],
      {},
      { ...expected, says: /^whochanged: empty holds no token: it is empty$/ },
    );
    await fails(
      ['--token-file', 'nowhere'],
      {},
      { code: EXIT.usage, says: /^whochanged: cannot read nowhere: ENOENT$/, advises: /exist/ },
    );
  });

  it('of a lesser role is not enough for what takes a greater one', async () => {
    const { stdout } = await api.cli(['token', 'create', 'somebody']);
    const reader = { WHOCHANGED_TOKEN: stdout.trim() };
    expect((await api.cli(['deploy/web', '--since', '1000w'], reader)).code).toBe(EXIT.ok);
    await fails(['source', 'add', 'x', '--cluster', 'y'], reader, {
      code: EXIT.auth,
      says: /takes the role operator; "somebody" has reader$/,
      advises: /token create NAME --role ROLE/,
    });
    await fails(['token', 'list'], reader, { code: EXIT.auth, says: /takes the role admin/, advises: /./ });
  });
});

describe('a server', () => {
  const away = (says: RegExp, advises: RegExp) => ({ code: EXIT.failed, says, advises });

  it('that is away, or that another protocol is spoken to, is told from the rest', async () => {
    await fails(
      ['--url', 'http://127.0.0.1:1'],
      {},
      away(/cannot reach http:\/\/127\.0\.0\.1:1: ECONNREFUSED$/, /nothing listens there/),
    );
    await fails(
      ['--url', api.https.replace('https:', 'http:')],
      {},
      away(/ECONNRESET$/, /is it an https URL\?$/),
    );
    await fails(['--url', api.http.replace('http:', 'https:')], {}, away(/EPROTO$/, /is it an http URL\?$/));
    await fails(
      ['--url', 'http://whochanged.invalid'],
      {},
      away(/ENOTFOUND|EAI_AGAIN/, /that name leads nowhere/),
    );
  });

  it('whose CA is unknown is not trusted until --ca-file says so', async () => {
    await fails(
      ['--url', api.https],
      {},
      away(/UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED/, /--ca-file or WHOCHANGED_CA_FILE/),
    );
    const ca = join(api.folder, 'tls/ca.crt');
    const trusted = await api.cli(['deploy/web', '--since', '1000w', '--url', api.https, '--ca-file', ca]);
    expect(trusted).toMatchObject({ code: EXIT.ok, stderr: '' });
    expect(trusted.stdout).toContain('deployments/web');
    writeFileSync(join(api.folder, 'no-ca'), 'no certificate');
    await fails(
      ['--url', api.https, '--ca-file', 'no-ca'],
      {},
      { code: EXIT.usage, says: /no-ca holds no certificate in PEM form$/, advises: /--ca-file/ },
    );
  });

  it('has an http(s) URL without a password', async () => {
    await fails(
      ['--url', 'ftp://x'],
      {},
      { code: EXIT.usage, says: /"ftp:\/\/x" is no http\(s\) URL$/, advises: /WHOCHANGED_URL/ },
    );
    const { code, stderr } = await api.cli(['--url', 'https://me:hunter2@127.0.0.1']);
    expect({ code, leaks: stderr.includes('hunter2') }).toEqual({ code: EXIT.usage, leaks: false });
  });

  it('that is something else is recognized, and what it sends does not steer the terminal', async () => {
    const server = createServer((request, response) => {
      if (request.url!.startsWith('/html')) response.end('<html>');
      else if (request.url!.startsWith('/cut')) {
        response.writeHead(200, { 'content-length': '1000' });
        response.write('{"items":');
        setTimeout(() => response.destroy(), 50);
      } else if (request.url!.startsWith('/evil'))
        response.writeHead(400).end(JSON.stringify({ code: 'x', detail: '\u001b[2J\u202egnp.exe' }));
      else response.writeHead(404).end('<html>');
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await fails(['--url', url], {}, away(/answered 404: that is not whochanged$/, /--url/));
    await fails(
      ['--url', `${url}/html`],
      {},
      away(/answered 200, without JSON: that is not whochanged$/, /--url/),
    );
    await fails(['--url', `${url}/cut`], {}, away(/broke in mid-answer/, /try again/));
    expect(await api.cli(['export', '--url', `${url}/cut`])).toMatchObject({
      code: EXIT.failed,
      stdout: '{"items":',
      stderr: expect.stringContaining('broke in mid-answer'),
    });
    await fails(
      ['--url', `${url}/evil`],
      {},
      { code: EXIT.usage, says: /^whochanged: \\x1b\[2J\\x202egnp\.exe$/, advises: /./ },
    );
    server.close();
  });
});
