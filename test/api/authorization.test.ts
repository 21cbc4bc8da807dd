import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../harness/api-client.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

let api: RunningApi;
const tokens: Record<string, string> = {};
let operations: Array<{ method: string; path: string }>;

/** Who may do more than ask. Every other route is a reader's; a new one that should not be must be named here. */
const ROLE_OF: Record<string, 'none' | 'operator' | 'admin'> = {
  'GET /healthz': 'none',
  'GET /readyz': 'none',
  'POST /v1/jobs/{name}/run': 'operator',
  'POST /v1/quarantine/{id}/replay': 'operator',
  'POST /v1/quarantine/{id}/dismiss': 'operator',
  'POST /v1/policy/test': 'operator',
  'POST /v1/alerts/{id}/ack': 'operator',
  'POST /v1/alert-rules/test': 'operator',
  'POST /v1/sources': 'operator',
  'POST /v1/sources/{name}/rotate': 'operator',
  'POST /v1/sources/{name}/disable': 'operator',
  'PUT /v1/sources/{name}/probes': 'admin',
  'POST /v1/sources/s3': 'operator',
  'POST /v1/sources/{name}/retry': 'operator',
  'POST /v1/backfills': 'operator',
  'POST /v1/backfills/{id}/cancel': 'operator',
  'GET /v1/imports/{sha256}': 'operator',
  'POST /v1/imports': 'operator',
  'POST /v1/repos': 'admin',
  'DELETE /v1/repos/{name}': 'admin',
  'POST /v1/repos/{name}/fetch': 'operator',
  'POST /v1/repos/{name}/disable': 'admin',
  'POST /v1/repos/{name}/enable': 'admin',
  'POST /v1/hooks/github': 'none',
  'POST /v1/hooks/gitlab': 'none',
  'POST /v1/hooks/senders/{sender}/approvals': 'none',
  'POST /v1/hooks/senders/{sender}/tickets': 'none',
  'POST /v1/approvals/import': 'admin',
  'POST /v1/tickets/import': 'admin',
  'POST /v1/attestations': 'operator',
  'GET /v1/log/verify': 'admin',
  'POST /v1/erasures': 'admin',
  'POST /v1/holds': 'admin',
  'POST /v1/holds/{id}/release': 'admin',
  'GET /v1/access-events': 'admin',
  'GET /v1/access-events/{seq}/proof': 'admin',
  'GET /v1/tokens': 'admin',
  'POST /v1/tokens': 'admin',
  'DELETE /v1/tokens/{id}': 'admin',
};
const RANK = { none: 0, reader: 1, operator: 2, admin: 3 };

beforeAll(async () => {
  api = await startApi();
  for (const role of ['reader', 'operator', 'admin'])
    tokens[role] = (await ask(api, '/v1/tokens', { method: 'POST', body: { name: role, role } })).json.token;
  const document = (await ask(api, '/openapi.json', { token: null })).json;
  operations = Object.entries(document.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
  );
});
afterAll(() => api.stop());

/** A path that exists nowhere, so that nothing is done by asking. */
function somewhere(path: string): string {
  return path
    .replace('{id}', '999999')
    .replace('{seq}', '999999')
    .replace(/\{\w+\}/g, 'nowhere');
}

describe('every route', () => {
  it('is known to this test by its role', () => {
    expect(operations.length).toBeGreaterThan(25);
    const known = operations.map(({ method, path }) => `${method} ${path}`);
    expect(Object.keys(ROLE_OF).filter((name) => !known.includes(name))).toEqual([]);
  });

  it('refuses whoever shows no token, or one that is none', async () => {
    for (const { method, path } of operations) {
      if (ROLE_OF[`${method} ${path}`] === 'none') continue;
      for (const token of [null, 'wc_nothing', 'x', tokens.reader!.slice(0, -1)]) {
        const answer = await ask(api, somewhere(path), { method, token });
        expect([`${method} ${path}`, answer.status]).toEqual([`${method} ${path}`, 401]);
        expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
        expect(answer.json).toMatchObject({ code: 'unauthenticated', status: 401 });
      }
    }
  });

  it('refuses roles below its own, and no others', async () => {
    for (const { method, path } of operations) {
      const needed = ROLE_OF[`${method} ${path}`] ?? 'reader';
      for (const role of ['reader', 'operator', 'admin'] as const) {
        const { status } = await ask(api, somewhere(path), { method, token: tokens[role]! });
        const refused = RANK[role] < RANK[needed];
        expect([`${method} ${path} as ${role}`, status === 403]).toEqual([
          `${method} ${path} as ${role}`,
          refused,
        ]);
        expect(status).toBeLessThan(500);
      }
    }
  });

  it('refuses parameters that it does not know, rather than answer another question', async () => {
    for (const path of ['/v1/changes', '/v1/changes.csv', '/v1/events', '/v1/access', '/v1/objects']) {
      const answer = await ask(api, `${path}?namspace=prod`);
      expect([path, answer.status, answer.json.detail]).toEqual([
        path,
        400,
        'query parameter namspace: this route knows no such parameter',
      ]);
    }
  });
});

describe('a token', () => {
  it('ends when it expires', async () => {
    const soon = new Date(Date.now() + 1500).toISOString();
    const body = { name: 'short', role: 'reader', expiresAt: soon };
    const { token } = (await ask(api, '/v1/tokens', { method: 'POST', body })).json;
    expect((await ask(api, '/v1/changes', { token })).status).toBe(200);
    await expect
      .poll(async () => (await ask(api, '/v1/changes', { token })).status, { timeout: 8000 })
      .toBe(401);
  });

  it('ends when it is revoked', async () => {
    const made = (await ask(api, '/v1/tokens', { method: 'POST', body: { name: 'gone', role: 'reader' } }))
      .json;
    expect((await ask(api, '/v1/changes', { token: made.token })).status).toBe(200);
    const list = (await ask(api, '/v1/tokens')).json.items as Array<{ id: number; name: string }>;
    const { id } = list.find((item) => item.name === 'gone')!;
    expect((await ask(api, `/v1/tokens/${id}`, { method: 'DELETE' })).status).toBeLessThan(300);
    for (const path of ['/v1/changes', '/v1/status'])
      expect((await ask(api, path, { token: made.token })).status).toBe(401);
  });

  it('is never shown again', async () => {
    const { text } = await ask(api, '/v1/tokens');
    for (const token of Object.values(tokens)) expect(text).not.toContain(token);
    expect(api.log()).not.toContain(tokens.reader!);
  });
});

it('documents itself as OpenAPI 3.1: each route with a summary and an answer', async () => {
  const document = (await ask(api, '/openapi.json', { token: null })).json;
  expect(document.openapi).toBe('3.1.0');
  for (const [path, methods] of Object.entries(
    document.paths as Record<string, Record<string, { summary?: string; responses?: object }>>,
  )) {
    for (const [method, operation] of Object.entries(methods)) {
      expect([path, method, operation.summary?.length ?? 0]).toEqual([path, method, expect.any(Number)]);
      expect(operation.summary, `${method} ${path}`).toBeTruthy();
      expect(Object.keys(operation.responses ?? {}).length, `${method} ${path}`).toBeGreaterThan(0);
    }
  }
  expect((await ask(api, '/docs/', { token: null })).text).toContain('swagger');
});
