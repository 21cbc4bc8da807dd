import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

const REQUESTS = 8;
const FAILED_LOGINS = 5;
const PERIOD = 'since=2026-01-01T00:00:00Z&until=2026-12-01T00:00:00Z';

/** One of each kind of route. */
const KINDS: Array<[kind: string, method: string, path: string]> = [
  ['a list', 'GET', '/v1/changes'],
  ['a stream', 'GET', '/v1/changes.ndjson'],
  ['a report', 'GET', `/v1/reports/soc2-cc8.1?${PERIOD}`],
  ['a write', 'POST', '/v1/quarantine/999999/dismiss'],
  ['who asks', 'GET', '/v1/whoami'],
];

let api: RunningApi;
let tokens: string[];
beforeAll(async () => {
  api = await startApi({
    WHOCHANGED_API_REQUESTS_PER_MINUTE: String(REQUESTS),
    WHOCHANGED_API_FAILED_LOGINS_PER_MINUTE: String(FAILED_LOGINS),
  });
  tokens = [];
  for (const [i] of [...KINDS, ['one more']].entries()) {
    const body = { name: `caller-${i}`, role: 'admin' };
    tokens.push((await ask(api, '/v1/tokens', { method: 'POST', body })).json.token);
  }
});
afterAll(() => api?.stop());

describe('a caller who asks too often', () => {
  it.each(KINDS)('%s: is refused for a while, and nobody else is', async (kind, method, path) => {
    const token = tokens[KINDS.findIndex(([name]) => name === kind)]!;
    for (let n = 0; n < REQUESTS; n++) expect((await ask(api, path, { method, token })).status).not.toBe(429);
    const { status, headers, json } = await ask(api, path, { method, token });
    expect([status, json.code]).toEqual([429, 'rate_limited']);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    expect(headers.get('content-type')).toMatch(/problem\+json/);
    expect((await ask(api, '/healthz', { token: null })).status).toBe(200);
  });

  it('is no apiserver: events are taken however often they come', async () => {
    const cluster = new Cluster();
    for (let n = 0; n < 3 * REQUESTS; n++)
      expect(
        await api.post(eventList([cluster.deployment('create', `often-${n}`, { image: 'w' })])),
      ).toMatchObject({
        stored: 1,
      });
  });
});

it('an error inside is told by its request, and nothing of it to who asks', async () => {
  const token = tokens.at(-1)!;
  await api.query('alter table findings rename to findings_gone');
  const { status, json, text } = await ask(api, '/v1/findings', { token });
  await api.query('alter table findings_gone rename to findings');
  expect([status, json.code, json.detail]).toEqual([500, 'internal', 'something went wrong here']);
  expect(text).not.toMatch(/findings_gone|relation|42P01|select/);
  const id = json.instance.split(':').at(-1);
  expect(api.log()).toMatch(new RegExp(`${id}[^]*relation|relation[^]*${id}`));
});

it('an address that fails to log in too often is not looked at for a while, but whoever was known is', async () => {
  const known = tokens.at(-1)!;
  expect((await ask(api, '/v1/whoami', { token: known })).status).toBe(200);
  const statuses: number[] = [];
  for (let n = 0; n < FAILED_LOGINS + 2; n++)
    statuses.push((await ask(api, '/v1/changes', { token: `wc_guess_${n}` })).status);
  expect(statuses.slice(0, FAILED_LOGINS)).toEqual(Array(FAILED_LOGINS).fill(401));
  expect(statuses.at(-1)).toBe(429);
  expect((await ask(api, '/v1/whoami', { token: known })).status).toBe(200);
});
