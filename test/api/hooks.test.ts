import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { standardSignature } from '../../core/hosts/hook-signature.js';
import { ask } from '../harness/api-client.js';
import { type GitHost, startGitHost } from '../harness/git-host.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

const GITHUB = 'the-github-secret-of-the-test';
const GITLAB = 'the-gitlab-token-of-the-test';
const SIGNING = `whsec_${Buffer.from('a signing key of the test, 32 b.').toString('base64')}`;
const PORTAL = `whsec_${Buffer.from('the key of the portal').toString('base64')}`;
const sha = (digit: string) => digit.repeat(40);
const at = (time: string) => `2026-11-24T${time}Z`;

let api: RunningApi;
let host: GitHost;
let folder: string;
let file: string;

function writeSecrets(github: string[]): void {
  writeFileSync(
    file,
    JSON.stringify({
      github,
      gitlab: [GITLAB, SIGNING],
      senders: { portal: PORTAL, other: 'the-secret-of-another' },
    }),
  );
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'whochanged-hooks-'));
  file = join(folder, 'hooks.yaml');
  writeSecrets([GITHUB]);
  host = await startGitHost('github', {
    repos: [
      {
        project: 'acme/shop',
        permissions: { bob: 'write' },
        pullRequests: [
          {
            number: 7,
            author: 'alice',
            commits: [{ sha: sha('1'), author: 'alice' }],
            createdAt: at('09:00:00'),
            reviews: [{ reviewer: 'bob', state: 'approved', at: at('10:00:00') }],
            merged: { at: at('11:00:00'), by: 'carol', sha: sha('a'), method: 'merge' },
          },
        ],
      },
    ],
  });
  process.env.WHOCHANGED_CREDENTIAL_HOOKS_TEST = host.token;
  api = await startApi({ WHOCHANGED_HOOKS_FILE: file, WHOCHANGED_HOST_SYNC_SECONDS: '86400' });
  const add = (name: string, kind: string, project: string, credential: string | null) =>
    api.pool.query(
      `insert into repos (name, url, host_kind, api_url, project, credential, sync_attempted_at, disabled_at)
       values ($1, 'https://git.example.com/x.git', $2, $3, $4, $5, now(), null)`,
      [name, kind, host.apiURL, project, credential],
    );
  await add('shop', 'github', 'acme/shop', 'env:WHOCHANGED_CREDENTIAL_HOOKS_TEST');
  await add('quiet', 'github', 'acme/quiet', null);
  await add('lab', 'gitlab', 'acme/lab', null);
});
afterAll(async () => {
  delete process.env.WHOCHANGED_CREDENTIAL_HOOKS_TEST;
  await api.stop();
  await host.stop();
  rmSync(folder, { recursive: true });
});

async function send(path: string, body: string, headers: Record<string, string>) {
  const response = await fetch(`${api.http}/v1/hooks/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  return { status: response.status, json: (await response.json()) as any };
}

function github(event: string, id: string, payload: unknown, secret = GITHUB) {
  const body = JSON.stringify(payload);
  const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
  return send('github', body, {
    'x-github-event': event,
    'x-github-delivery': id,
    'x-hub-signature-256': signature,
  });
}

function standard(path: string, id: string, payload: unknown, secret: string, seconds = Date.now() / 1000) {
  const body = JSON.stringify(payload);
  const timestamp = Math.floor(seconds);
  return send(path, body, {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': standardSignature(secret, id, timestamp, body),
  });
}

const pull = (repo: string, change: object = {}) => ({
  action: 'closed',
  repository: { full_name: repo },
  sender: { login: 'carol', type: 'User' },
  pull_request: {
    number: 7,
    state: 'closed',
    title: 'Change 7',
    html_url: `https://git.example.com/${repo}/pull/7`,
    user: { login: 'alice', type: 'User' },
    created_at: at('09:00:00'),
    updated_at: at('11:00:00'),
    merged_at: at('11:00:00'),
    merged_by: { login: 'carol', type: 'User' },
    merge_commit_sha: sha('a'),
    head: { ref: 'topic', sha: sha('1') },
    base: { ref: 'main' },
    ...change,
  },
});

async function counted(hook: string, result: string): Promise<number> {
  const { text } = await ask(api, '/metrics');
  const line = new RegExp(
    `^whochanged_hook_deliveries_total\\{hook="${hook}",result="${result}"\\} (\\d+)`,
    'm',
  );
  return Number(line.exec(text)?.[1] ?? 0);
}

describe("GitHub's webhook", () => {
  it('has the pull request that it names fetched from the host at once', async () => {
    expect(await github('pull_request', 'd-1', pull('Acme/Shop'))).toMatchObject({
      status: 200,
      json: { result: 'taken' },
    });
    // What the reviewer may do is asked for last.
    await expect
      .poll(async () => (await ask(api, '/v1/repos/shop/pull-requests/7')).json.reviews?.[0]?.permission, {
        timeout: 20_000,
      })
      .toBe('write');
    const { json } = await ask(api, '/v1/repos/shop/pull-requests/7');
    expect(json).toMatchObject({
      mergeSha: sha('a'),
      mergedAt: '2026-11-24T11:00:00.000000Z',
    });
    expect(json.reviews).toHaveLength(1);
    expect(json.reviews[0]).toMatchObject({ reviewer: { login: 'bob' }, state: 'approved' });
  });

  it('is harmless when it is sent again, under its own id or another', async () => {
    const before = (await ask(api, '/v1/repos/shop/pull-requests/7')).json;
    expect((await github('pull_request', 'd-1', pull('acme/shop'))).json).toEqual({ result: 'duplicate' });
    const stale = pull('acme/shop', {
      updated_at: at('09:30:00'),
      merged_at: null,
      state: 'open',
      title: 'Older',
    });
    expect((await github('pull_request', 'd-2', stale)).json).toEqual({ result: 'taken' });
    await expect
      .poll(
        async () =>
          (await ask(api, '/v1/hosts')).json.items.find((one: { repo: string }) => one.repo === 'shop'),
        {
          timeout: 20_000,
        },
      )
      .toMatchObject({ due: 0, state: 'ok' });
    const { syncedAt: _, ...after } = (await ask(api, '/v1/repos/shop/pull-requests/7')).json;
    const { syncedAt: __, ...known } = before;
    expect(after).toEqual(known);
  });

  it('tells facts by itself where no credential is there, pushes and approved deployments too', async () => {
    await github('pull_request', 'q-1', pull('acme/quiet'));
    const reviewed = {
      ...pull('acme/quiet'),
      action: 'submitted',
      review: {
        id: 5,
        user: { login: 'bob', type: 'User' },
        state: 'approved',
        commit_id: sha('1'),
        submitted_at: at('10:00:00'),
      },
    };
    await github('pull_request_review', 'q-2', reviewed);
    const { json } = await ask(api, '/v1/repos/quiet/pull-requests/7');
    expect(json).toMatchObject({ state: 'merged', mergeSha: sha('a') });
    expect(json.reviews).toMatchObject([{ state: 'approved', reviewer: { login: 'bob' }, sha: sha('1') }]);

    await github('push', 'q-3', {
      ref: 'refs/heads/main',
      before: sha('a'),
      after: sha('b'),
      repository: { full_name: 'acme/quiet', pushed_at: 1_795_000_000 },
      sender: { login: 'mallory', type: 'User' },
    });
    const { rows } = await api.pool.query("select pusher ->> 'login' as login, after_sha from pushes");
    expect(rows).toEqual([{ login: 'mallory', after_sha: sha('b') }]);

    await github('deployment_review', 'q-4', {
      action: 'approved',
      repository: { full_name: 'acme/quiet' },
      approver: { login: 'dora', type: 'User' },
      workflow_run: { id: 9, head_sha: sha('b') },
      workflow_job_run: { environment: 'production' },
    });
    expect((await ask(api, `/v1/approvals?subject=${sha('b')}`)).json.items).toMatchObject([
      {
        id: '9:production:dora',
        repo: 'quiet',
        origin: 'github environment production',
        approver: { login: 'dora' },
      },
    ]);
  });

  it('is refused without the right signature over the very body, and counted', async () => {
    const before = await counted('github', 'rejected');
    const body = JSON.stringify(pull('acme/shop'));
    const good = `sha256=${createHmac('sha256', GITHUB).update(body).digest('hex')}`;
    for (const [text, signature] of [
      [body, undefined],
      [body, `${good.slice(0, -1)}${good.endsWith('0') ? '1' : '0'}`],
      [body, good.replace('sha256=', 'sha1=')],
      [`${body} `, good],
    ] as const) {
      const headers = { 'x-github-event': 'pull_request', 'x-github-delivery': 'bad' };
      const answer = await send('github', text, {
        ...headers,
        ...(signature && { 'x-hub-signature-256': signature }),
      });
      expect([answer.status, answer.json.code]).toEqual([401, 'unauthenticated']);
    }
    expect(await counted('github', 'rejected')).toBe(before + 4);
    expect(api.log()).not.toContain(GITHUB);
  });

  it('takes both secrets while one is replaced, and then only the new one', async () => {
    const ping = (secret: string) => github('ping', 'p', { repository: { full_name: 'acme/none' } }, secret);
    const next = 'the-next-github-secret-of-the-test';
    expect([(await ping(GITHUB)).status, (await ping(next)).status]).toEqual([200, 401]);
    writeSecrets([next, GITHUB]);
    expect([(await ping(GITHUB)).status, (await ping(next)).status]).toEqual([200, 200]);
    writeSecrets([next]);
    expect([(await ping(GITHUB)).status, (await ping(next)).status]).toEqual([401, 200]);
    writeFileSync(file, 'github: [short');
    expect((await ping(next)).status).toBe(200);
    expect(api.log()).toContain('the last good one holds on');
    writeSecrets([GITHUB]);
    expect((await ping(GITHUB)).json).toEqual({ result: 'ignored' });
  });
});

describe("GitLab's webhook", () => {
  const merge = {
    object_kind: 'merge_request',
    project: { path_with_namespace: 'acme/lab' },
    object_attributes: { iid: 12, action: 'approved', updated_at: '2026-11-24 10:00:00 UTC' },
  };

  it('names what is due, by its token or its signature; a wrong signature is not saved by the token', async () => {
    const token = { 'x-gitlab-event': 'Merge Request Hook', 'x-gitlab-token': GITLAB };
    const body = JSON.stringify(merge);
    expect((await send('gitlab', body, { ...token, 'idempotency-key': 'g-1' })).json.result).toBe('taken');
    expect((await send('gitlab', body, { ...token, 'idempotency-key': 'g-1' })).json.result).toBe(
      'duplicate',
    );
    expect((await standard('gitlab', 'g-2', merge, SIGNING)).json.result).toBe('taken');
    const { rows } = await api.pool.query(
      "select number, changed_at from host_due d join repos r on r.id = repo_id where r.name = 'lab'",
    );
    expect(rows).toEqual([{ number: 12, changed_at: '2026-11-24T10:00:00.000000Z' }]);
    expect((await send('gitlab', body, { ...token, 'x-gitlab-token': `${GITLAB}x` })).status).toBe(401);
    const old = Date.now() / 1000 - 900;
    expect((await standard('gitlab', 'g-3', merge, SIGNING, old)).status).toBe(401);
    const forged = {
      ...token,
      'webhook-id': 'g-4',
      'webhook-timestamp': '1',
      'webhook-signature': 'v1,AAAA',
    };
    expect((await send('gitlab', body, forged)).status).toBe(401);
  });

  it('tells who pushed', async () => {
    const push = {
      object_kind: 'push',
      ref: 'refs/heads/main',
      before: sha('0'),
      after: sha('c'),
      user_username: 'erin',
      user_name: 'Erin',
      project: { path_with_namespace: 'acme/lab' },
    };
    expect((await standard('gitlab', 'g-5', push, SIGNING)).json.result).toBe('taken');
    const { rows } = await api.pool.query('select pusher from pushes where after_sha = $1', [sha('c')]);
    expect(rows).toEqual([{ pusher: { login: 'erin', name: 'Erin' } }]);
  });
});

describe("a sender's webhook", () => {
  const approval = {
    id: 'A-1',
    repo: 'shop',
    sha: sha('d'),
    approver: 'dora@example.com',
    approvedAt: at('12:00:00'),
  };

  it('takes approvals, tells what it left out, and takes a delivery once', async () => {
    const body = { items: [approval, { ...approval, id: 'A-2', sha: 'abc' }] };
    const first = await standard('senders/portal/approvals', 'w-1', body, PORTAL);
    expect(first.json).toEqual({
      result: 'taken',
      stored: 1,
      known: 0,
      problems: [{ row: 2, problem: 'sha: expected the whole SHA of a commit' }],
    });
    expect((await standard('senders/portal/approvals', 'w-1', body, PORTAL)).json).toEqual({
      result: 'duplicate',
    });
    const again = await standard(
      'senders/portal/approvals',
      'w-2',
      { items: [approval, { ...approval, approver: 'eve' }] },
      PORTAL,
    );
    expect(again.json).toMatchObject({ stored: 0, known: 1, problems: [{ row: 2 }] });
    expect((await ask(api, `/v1/approvals?subject=${sha('d')}`)).json.items).toMatchObject([
      { origin: 'webhook portal', approver: { email: 'dora@example.com' } },
    ]);
  });

  it("is refused by another sender's secret, out of its time, or with another body", async () => {
    const path = 'senders/portal/approvals';
    const body = { items: [{ ...approval, id: 'A-9' }] };
    expect((await standard(path, 'w-3', body, 'the-secret-of-another')).status).toBe(401);
    expect((await standard(path, 'w-4', body, PORTAL, Date.now() / 1000 - 900)).status).toBe(401);
    expect((await standard('senders/nobody/approvals', 'w-5', body, PORTAL)).status).toBe(404);
    expect((await standard(path, 'w-6', { item: [] }, PORTAL)).json).toMatchObject({
      status: 400,
      code: 'invalid_request',
    });
    expect((await ask(api, `/v1/approvals?subject=${sha('d')}`)).json.items).toHaveLength(1);
    expect(await counted('portal', 'rejected')).toBe(2);
  });

  it('takes tickets; a recording of an older state does not set back a newer one', async () => {
    const ticket = (state: string, updated: string) => ({
      number: 'CHG0030192',
      type: 'normal',
      state,
      approval: 'approved',
      start_date: '2026-11-24 09:00:00',
      end_date: '2026-11-24 12:00:00',
      cmdb_ci: { display_value: 'shop', value: 'x' },
      sys_updated_on: updated,
    });
    const body = (state: string, updated: string) => ({
      system: 'servicenow',
      items: [ticket(state, updated)],
    });
    const path = 'senders/portal/tickets';
    const newer = await standard(path, 't-1', body('-1', '2026-11-24 10:00:00'), PORTAL);
    expect(newer.json).toMatchObject({ result: 'taken', stored: 1 });
    await standard(path, 't-2', body('-2', '2026-11-24 08:00:00'), PORTAL);
    expect((await ask(api, '/v1/tickets?item=shop')).json.items).toMatchObject([
      { id: 'CHG0030192', state: 'Implement' },
    ]);
    const { items } = (await ask(api, '/v1/tickets/CHG0030192')).json;
    expect(items.map((one: { state: string }) => one.state)).toEqual(['Scheduled', 'Implement']);
  });
});
