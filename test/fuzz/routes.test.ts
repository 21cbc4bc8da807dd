import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApiWithSession } from '../harness/running-api.js';

interface Parameter {
  name: string;
  in: 'path' | 'query';
  schema?: { type?: string; format?: string; anyOf?: unknown[] };
}
interface Operation {
  method: string;
  path: string;
  parameters: Parameter[];
  hasBody: boolean;
}

let api: RunningApi;
let operations: Operation[];

beforeAll(async () => {
  api = await startApiWithSession({ WHOCHANGED_API_REQUESTS_PER_MINUTE: '1000000' });
  const document = (await ask(api, '/openapi.json', { token: null })).json;
  type Methods = Record<string, { parameters?: Parameter[]; requestBody?: object }>;
  operations = Object.entries(document.paths as Record<string, Methods>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters, requestBody }]) => ({
      method: method.toUpperCase(),
      path,
      parameters: parameters ?? [],
      hasBody: requestBody !== undefined,
    })),
  );
});
afterAll(() => api?.stop());

/** What a parameter may be asked for by whoever means no good. In URL encoding. */
const ODD = [
  '',
  '%00',
  '%ff%fe',
  '__proto__',
  'constructor',
  '..%2f..%2fetc%2fpasswd',
  "'%3b%20drop%20table%20events%3b--",
  '9'.repeat(400),
  '-1',
  '1e999',
  'NaN',
  '%F0%9F%94%91%E2%80%AE',
  '%24%7Bjndi%3Aldap%3A%2F%2F127.0.0.1%7D',
  '%7B%22a%22%3A%5B%5D%7D',
  '2026-02-30T25%3A61%3A00Z',
  'a'.repeat(3000),
];

/** Parts of an answer that would tell of our inside. */
const INSIDE =
  /\bat \S+ \(|\.[jt]s:\d+|node_modules|\/work\/|SQLSTATE|syntax error at|relation "|column "|invalid input syntax|pg_|ECONN|TypeError|RangeError|undefined is not|Cannot read prop/;

const failures: string[] = [];
async function mustHold(method: string, url: string, body?: string): Promise<void> {
  const response = await fetch(api.http + url, {
    method,
    headers: {
      authorization: `Bearer ${api.adminToken}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body }),
  });
  const text = response.status < 400 ? '' : await response.text();
  if (response.status < 400) await response.body?.cancel();
  const asked = `${method} ${url.slice(0, 200)} ${body?.slice(0, 60) ?? ''}`;
  if (response.status >= 500) failures.push(`${asked}: ${response.status} ${text.slice(0, 200)}`);
  if (INSIDE.test(text.replaceAll(decodeURIComponentSafely(url), '')))
    failures.push(`${asked}: tells of our inside: ${text.slice(0, 300)}`);
  if (response.status >= 400 && !/problem\+json/.test(response.headers.get('content-type') ?? ''))
    failures.push(`${asked}: ${response.status} is no problem+json`);
}

function decodeURIComponentSafely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Runs a few at once: this is about what is asked, not how often. */
async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let item = queue.pop(); item !== undefined; item = queue.pop()) await work(item);
    }),
  );
}

const filled = (path: string, value: string) => path.replace(/\{\w+\}/g, value);

describe('no route fails inside, or tells of it,', () => {
  it('for odd values in its path', async () => {
    const asked = operations
      .filter(({ path, method }) => path.includes('{') && method === 'GET')
      .flatMap(({ method, path }) => ODD.map((odd) => ({ method, url: filled(path, odd) })));
    expect(asked.length).toBeGreaterThan(200);
    await each(asked, ({ method, url }) => mustHold(method, url));
    expect(failures.splice(0)).toEqual([]);
  });

  it('for odd values in its query', async () => {
    const asked = operations
      .filter(({ method, path }) => method === 'GET' && path !== '/v1/log/verify')
      .flatMap(({ method, path, parameters }) =>
        parameters
          .filter((parameter) => parameter.in === 'query')
          .flatMap(({ name }, n) =>
            // Two of the odd values for each, others for the next: all of them for the whole.
            [0, 1].map((i) => `${filled(path, 'x')}?${name}=${ODD[(n * 2 + i + path.length) % ODD.length]}`),
          )
          .map((url) => ({ method, url })),
      );
    expect(asked.length).toBeGreaterThan(200);
    await each(asked, ({ method, url }) => mustHold(method, url));
    expect(failures.splice(0)).toEqual([]);
  });

  it('for odd bodies', async () => {
    const bodies = [
      '',
      '{',
      'null',
      '[]',
      '"x"',
      '1e999',
      '{"__proto__":{"role":"admin"},"constructor":{"prototype":{}}}',
      '{"name":"\\u0000","cluster":"\\ud800","role":"admin","namespaces":[""],"expiresAt":"x"}',
      `{"name":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
      `{"name":${'9'.repeat(400)},"role":{"a":1},"cluster":-1e308}`,
    ];
    const writing = operations.filter(({ method }) => method !== 'GET');
    expect(writing.length).toBeGreaterThan(20);
    await each(
      writing.flatMap((operation) => bodies.map((body) => ({ ...operation, body }))),
      ({ method, path, body }) => mustHold(method, filled(path, '999999'), body),
    );
    expect(failures.splice(0)).toEqual([]);
  });
});

it('takes a name as long as Kubernetes allows', async () => {
  const name = 'n'.repeat(253);
  const username = `system:serviceaccount:shop:${'u'.repeat(1000)}`;
  const ref = { resource: 'configmaps', namespace: 'shop', name };
  const write = new Cluster().write('create', ref, { kind: 'ConfigMap' }, { user: { username } });
  await api.post(eventList([write]));
  const history = await ask(api, `/v1/objects/default/core/configmaps/shop/${name}/history`);
  expect([history.status, history.json.items.length]).toEqual([200, 1]);
  const activity = await ask(api, `/v1/actors/${encodeURIComponent(username)}/activity`);
  expect([activity.status, activity.json.items.length]).toEqual([200, 1]);
});

describe('every route', () => {
  it('answers with the headers that keep a browser from harm', async () => {
    for (const { method, path } of operations) {
      const { headers, status } = await ask(api, filled(path, '999999'), { method, token: null });
      const asked = `${method} ${path} ${status}`;
      expect([asked, headers.get('x-content-type-options')]).toEqual([asked, 'nosniff']);
      expect([asked, headers.get('x-frame-options')]).toEqual([asked, 'SAMEORIGIN']);
      expect([asked, headers.get('referrer-policy')]).toEqual([asked, 'no-referrer']);
      expect([asked, headers.get('content-security-policy')]).toEqual([
        asked,
        expect.stringContaining("default-src 'self'"),
      ]);
      expect([asked, headers.get('strict-transport-security')]).toEqual([asked, expect.any(String)]);
      expect([asked, headers.get('x-powered-by'), headers.get('server')]).toEqual([asked, null, null]);
    }
    for (const path of ['/v1/nowhere', '/v1/changes/%ff', '/ingest/v1/audit/nowhere']) {
      const { headers } = await ask(api, path, { token: null });
      expect([path, headers.get('x-content-type-options')]).toEqual([path, 'nosniff']);
      expect([path, headers.get('content-security-policy')]).toEqual([path, "default-src 'none'"]);
    }
  });
});
