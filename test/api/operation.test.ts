import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

let api: RunningApi;
const cluster = new Cluster();
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

interface Credential {
  token?: string;
  kubeconfig: string;
}

const oneEvent = () =>
  eventList([
    cluster.deployment('create', `web-${Math.random().toString(36).slice(2, 8)}`, { image: 'web:1' }),
  ]);

/** Posts to the TLS listener as client-go does; without a client certificate unless one is given. */
function post(source: string, credential: { token?: string; cert?: string; key?: string }): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request(
      `${api.https}/ingest/v1/audit/${source}?timeout=30s`,
      {
        method: 'POST',
        agent: false,
        ca: readFileSync(join(api.folder, 'tls/ca.crt')),
        ...(credential.cert && { cert: credential.cert, key: credential.key }),
        headers: { ...(credential.token && { authorization: `Bearer ${credential.token}` }) },
      },
      (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode!));
      },
    );
    call.on('error', reject);
    call.end(oneEvent());
  });
}

async function add(name: string, more: object = {}): Promise<Credential> {
  const answer = await ask(api, '/v1/sources', { method: 'POST', body: { name, cluster: 'prod', ...more } });
  expect(answer.status).toBe(201);
  return answer.json;
}

describe('a source', () => {
  it('lets its own token in, and no other', async () => {
    const a = await add('prod-a');
    const b = await add('prod-b');
    expect(await post('prod-a', { token: a.token! })).toBe(200);
    expect(await post('prod-a', { token: b.token! })).toBe(401);
    expect(await post('prod-a', { token: api.adminToken })).toBe(401);
    expect(await post('prod-a', {})).toBe(401);
    expect(await post('nowhere', { token: a.token! })).toBe(401);
    const user = parse(a.kubeconfig).users[0].user;
    expect(user.token).toBe(a.token);
  });

  it('is rotated with an overlap, and at once without', async () => {
    const first = await add('turning');
    const rotate = async (overlap: number) =>
      (await ask(api, '/v1/sources/turning/rotate', { method: 'POST', body: { overlapSeconds: overlap } }))
        .json as Credential;
    const second = await rotate(3600);
    expect(await post('turning', { token: first.token! })).toBe(200);
    expect(await post('turning', { token: second.token! })).toBe(200);
    const third = await rotate(0);
    expect(await post('turning', { token: third.token! })).toBe(200);
    expect(await post('turning', { token: second.token! })).toBe(401);
    const { json } = await ask(api, '/v1/sources');
    const item = json.items.find((source: { name: string }) => source.name === 'turning');
    expect(item.credentials).toHaveLength(3);
    for (const { createdAt, expiresAt } of item.credentials)
      for (const time of [createdAt, expiresAt]) if (time !== null) expect(time).toMatch(/Z$/);
  });

  it('is refused once it is disabled', async () => {
    const { token } = await add('leaving');
    expect(await post('leaving', { token: token! })).toBe(200);
    expect((await ask(api, '/v1/sources/leaving/disable', { method: 'POST' })).status).toBeLessThan(300);
    expect(await post('leaving', { token: token! })).toBe(401);
  });

  it('can use a client certificate over TLS: the very one it was given', async () => {
    const withCert = await add('certified', { kind: 'client_cert' });
    const other = await add('other', { kind: 'client_cert' });
    const pair = (credential: Credential) => {
      const { user } = parse(credential.kubeconfig).users[0];
      return {
        cert: Buffer.from(user['client-certificate-data'], 'base64').toString(),
        key: Buffer.from(user['client-key-data'], 'base64').toString(),
      };
    };
    expect(await post('certified', pair(withCert))).toBe(200);
    expect(await post('certified', pair(other))).toBe(401);
  });

  it('tells its health', async () => {
    const { json } = await ask(api, '/v1/sources');
    const health = Object.fromEntries(
      json.items.map((item: { name: string; health: { state: string } }) => [item.name, item.health.state]),
    );
    expect(health).toMatchObject({
      'prod-a': 'ok',
      'prod-b': 'never',
      leaving: 'disabled',
      default: 'never',
    });
  });

  it.each([
    [{ name: 'Prod A', cluster: 'prod' }, 400, /name/],
    [{ name: 'prod-a', cluster: 'prod' }, 409, /prod-a/],
    [{ name: 'x' }, 400, /cluster/],
  ])('%j is refused with what is wrong', async (body, status, detail) => {
    const answer = await ask(api, '/v1/sources', { method: 'POST', body });
    expect([answer.status, answer.json.detail]).toEqual([status, expect.stringMatching(detail)]);
  });
});

describe('quarantine', () => {
  const SECRET = 'synthetic-quarantined-7f3a';

  it('keeps what could not be read, redacted, while its batch is stored', async () => {
    const good = cluster.deployment('create', 'kept', { image: 'web:1' });
    const secret = { kind: 'Secret', data: { password: Buffer.from(SECRET).toString('base64') } };
    const ref = { resource: 'secrets', namespace: 'shop', name: 'db' };
    const bad = { ...cluster.write('create', ref, secret), stage: 'Unheard' };
    const answer = await api.post(eventList([good, bad]));
    expect(answer).toMatchObject({ events: 2, stored: 1, quarantined: 1 });
    const { json } = await ask(api, '/v1/quarantine?state=open');
    expect(json.items).toHaveLength(1);
    expect(json.items[0]).toMatchObject({
      reason: 'invalid_field',
      detail: expect.stringMatching(/item 1: stage: expected one of/),
    });
    const one = await ask(api, `/v1/quarantine/${json.items[0].id}`);
    expect(one.text).toContain('Unheard');
    expect(one.text).not.toContain(SECRET);
    expect(one.text).not.toContain(Buffer.from(SECRET).toString('base64').slice(0, 20));
    expect(api.log()).not.toContain(SECRET);
  });

  it('says why a replay fails again, and can be dismissed', async () => {
    const [{ id }] = (await ask(api, '/v1/quarantine?state=open')).json.items;
    const replayed = await ask(api, `/v1/quarantine/${id}/replay`, { method: 'POST' });
    expect(replayed.text).toMatch(/stage: expected one of/);
    expect((await ask(api, '/v1/quarantine?state=open')).json.items).toHaveLength(1);
    await ask(api, `/v1/quarantine/${id}/dismiss`, { method: 'POST' });
    expect((await ask(api, '/v1/quarantine?state=open')).json.items).toEqual([]);
    expect((await ask(api, '/v1/quarantine?state=dismissed')).json.items).toHaveLength(1);
  });

  it('counts the same original again instead of keeping it twice', async () => {
    for (let i = 0; i < 3; i++)
      expect(await api.post('{"kind":"EventList","items":[{"kind":"Pod"}]}')).toMatchObject({
        quarantined: 1,
      });
    const { json } = await ask(api, '/v1/quarantine?state=open');
    expect(json.items.map((item: { seen: number; reason: string }) => [item.reason, item.seen])).toEqual([
      ['not_an_event', 3],
    ]);
  });
});

it('receives gzip, and refuses what is no JSON at all', async () => {
  const send = (body: Uint8Array | string, headers: Record<string, string> = {}) =>
    fetch(`${api.http}/ingest/v1/audit/default`, {
      method: 'POST',
      headers: { authorization: `Bearer ${api.sourceToken}`, ...headers },
      body,
    });
  expect((await send(gzipSync(oneEvent()), { 'content-encoding': 'gzip' })).status).toBe(200);
  expect((await send(gzipSync(oneEvent()).subarray(0, 60), { 'content-encoding': 'gzip' })).status).toBe(400);
  expect((await send('')).status).toBe(400);
  expect((await send('hello')).status).toBe(400);
  expect((await send(oneEvent(), { 'content-encoding': 'br' })).status).toBe(415);
});

it('tells of itself: alive, ready, measured', async () => {
  expect((await ask(api, '/healthz', { token: null })).json).toEqual({ status: 'ok' });
  expect((await ask(api, '/readyz', { token: null })).json).toEqual({ status: 'ok' });
  const { text } = await ask(api, '/metrics');
  expect(text).toMatch(/whochanged_ingest_events_total\{source="prod-a",result="stored"\} 1/);
  expect(text).toMatch(/whochanged_store_up 1/);
  expect((await ask(api, '/v1/status')).json).toMatchObject({
    roles: ['ingest', 'api', 'jobs'],
    spool: { bytes: 0 },
  });
  expect((await ask(api, '/v1/nothing')).json).toMatchObject({ code: 'not_found', status: 404 });
});
