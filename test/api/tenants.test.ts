import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTenantStore } from '../../store/tenant.js';
import { type Answer, allItems, ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

/** What only the other tenant may see: it stands in names, images and users of namespace `vault`. */
const FOREIGN = /vault|mallory/;

let api: RunningApi;
let tenant: string;
let foreignChange: string;
let foreignEvent: string;
let ownChange: string;
let operations: Array<{ method: string; path: string }>;

beforeAll(async () => {
  api = await startApi();
  const cluster = new Cluster();
  const own = [
    cluster.deployment('create', 'web', { image: 'web:1' }),
    cluster.deployment('update', 'web', { image: 'web:2' }),
  ];
  const foreign = [1, 2].map((n) =>
    cluster.write(
      n === 1 ? 'create' : 'update',
      { resource: 'configmaps', namespace: 'vault', name: 'vault-settings' },
      { kind: 'ConfigMap', data: { mode: `vault-${n}` } },
      { user: { username: 'mallory@example.com', groups: ['vault-team'] } },
    ),
  );
  const clusterWide = cluster.write(
    'create',
    { group: 'rbac.authorization.k8s.io', resource: 'clusterroles', namespace: '', name: 'vault-admin' },
    { kind: 'ClusterRole' },
    { user: { username: 'mallory@example.com' } },
  );
  await api.post(eventList([...own, ...foreign, clusterWide]));
  const created = await ask(api, '/v1/tokens', {
    method: 'POST',
    body: { name: 'team-shop', role: 'admin', clusters: ['default'], namespaces: ['shop'] },
  });
  tenant = created.json.token;
  await postElsewhere();
  const all = await allItems(api, '/v1/changes', 100);
  foreignChange = all.find((item) => item.object.namespace === 'vault').id;
  ownChange = all.find((item) => item.cluster === 'default' && item.object.namespace === 'shop').id;
  foreignEvent = (await ask(api, `/v1/changes/${foreignChange}`)).json.events[0].eventID;
  const document = (await ask(api, '/openapi.json', { token: null })).json;
  operations = Object.entries(document.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
  );
});
afterAll(() => api.stop());

/** A second cluster, where all is another's, under the very names that the tenant's own things have. */
async function postElsewhere(): Promise<void> {
  const source = { name: 'vault-apiserver', cluster: 'vault-prod' };
  const { json } = await ask(api, '/v1/sources', { method: 'POST', body: source });
  const cluster = new Cluster();
  const mallory = { user: { username: 'mallory@example.com' } };
  const items = [
    cluster.deployment('create', 'web', { image: 'vault-web:1' }, mallory),
    cluster.deployment('update', 'web', { image: 'vault-web:2' }, mallory),
  ];
  const { status } = await fetch(`${api.http}/ingest/v1/audit/${source.name}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${json.token}`, 'content-type': 'application/json' },
    body: eventList(items),
  });
  expect(status).toBe(200);
}

const asTenant = (path: string, method = 'GET'): Promise<Answer> => ask(api, path, { method, token: tenant });

/** The route, asked for what is another's. */
function aimed(path: string): string {
  return path
    .replace(
      '/objects/{cluster}/{group}/{resource}/{namespace}/{name}',
      '/objects/default/core/configmaps/vault/vault-settings',
    )
    .replace('/changes/{id}', `/changes/${foreignChange}`)
    .replace('{eventID}', foreignEvent)
    .replace('{username}', 'mallory@example.com')
    .replace('{id}', '1')
    .replace(/\{\w+\}/g, 'default');
}

/**
 * What rows refer to by a digest, shared by a cluster's namespaces. Whoever sees no row that names one can't ask for it by any
 * route; a statement that asks for all of them would show them (docs/threat-model.md, what remains).
 */
const SHARED = ['users', 'user_agents', 'authorizations', 'bodies', 'body_packs'];

/** What the routes with needed parameters are asked with. */
const QUERIES: Record<string, string> = {
  '/compare': '?from=2026-03-02T00:00:00Z',
  '/rollback': '?to=2026-03-03T00:00:00Z',
  '/density': '?since=2026-03-02T00:00:00Z&until=2026-03-03T00:00:00Z',
};

describe('a tenant', () => {
  it('who goes away while it is being told who asks leaves no transaction open', async () => {
    const other = await api.pool.connect();
    const leaving = new AbortController();
    const count = async (condition: string): Promise<number> => {
      const { rows } = await api.pool.query(
        `select count(*)::int as n from pg_stat_activity
          where datname = current_database() and application_name = 'whochanged' and ${condition}`,
      );
      return rows[0].n;
    };
    try {
      await other.query('begin');
      await other.query('lock table clusters in access exclusive mode');
      const answer = fetch(`${api.http}/v1/changes`, {
        headers: { authorization: `Bearer ${tenant}` },
        signal: leaving.signal,
      });
      const isRefused = expect(answer).rejects.toThrow();
      await expect
        .poll(() => count(`wait_event_type = 'Lock' and query = 'select id, name from clusters'`), {
          timeout: 10_000,
        })
        .toBe(1);
      leaving.abort();
      await isRefused;
      // The server has to have noticed.
      await sleep(300);
    } finally {
      await other.query('rollback');
      other.release();
    }
    await sleep(500);
    expect(await count(`state = 'idle in transaction' and state_change < now() - interval '300 ms'`)).toBe(0);
  });

  it('is told nothing of another, whichever route it asks', async () => {
    expect(operations.length).toBeGreaterThan(30);
    for (const { method, path } of operations) {
      if (['/healthz', '/readyz'].includes(path)) continue;
      const query = Object.entries(QUERIES).find(([end]) => path.endsWith(end))?.[1] ?? '';
      const answer = await asTenant(aimed(path) + query, method);
      const asked = `${method} ${path}`;
      expect([asked, [200, 403, 404].includes(answer.status)]).toEqual([asked, true]);
      // An error may repeat what was asked for, which the asker knows.
      if (answer.status === 200) expect([asked, FOREIGN.exec(answer.text)]).toEqual([asked, null]);
    }
  });

  it('is told nothing of another, whatever it filters by', async () => {
    const foreign: Record<string, string> = {
      namespace: 'vault',
      name: 'vault-settings',
      user: 'mallory@example.com',
      actor: 'mallory@example.com',
      group: 'vault-team',
      resource: 'configmaps',
      q: 'vault',
      cluster: 'default',
    };
    const document = (await ask(api, '/openapi.json', { token: null })).json;
    let asked = 0;
    for (const [path, methods] of Object.entries(document.paths as Record<string, object>)) {
      const { get } = methods as { get?: { parameters?: Array<{ in: string; name: string }> } };
      for (const { in: place, name } of get?.parameters ?? []) {
        if (place !== 'query' || foreign[name] === undefined) continue;
        const needed = Object.entries(QUERIES).find(([end]) => path.endsWith(end))?.[1] ?? '?';
        const query = `${needed}${needed === '?' ? '' : '&'}${name}=${encodeURIComponent(foreign[name])}`;
        const answer = await asTenant(aimed(path) + query);
        expect([path, name, [200, 400, 403, 404].includes(answer.status)]).toEqual([path, name, true]);
        if (answer.status !== 200) continue;
        asked++;
        expect([path, name, FOREIGN.exec(answer.text)]).toEqual([path, name, null]);
      }
    }
    expect(asked).toBeGreaterThan(10);
  });

  it("can't tell what another has from what is nowhere", async () => {
    const pairs: Array<[string, string]> = [
      [`/v1/changes/${foreignChange}`, `/v1/changes/${foreignChange.slice(0, -4)}0000`],
      [`/v1/events/${foreignEvent}`, `/v1/events/${foreignEvent.replace(/-[0-9a-f]{4}/, '-0000')}`],
      ['/v1/actors/mallory@example.com/activity', '/v1/actors/nemo@example.com/activity'],
      [
        '/v1/objects/default/core/configmaps/vault/vault-settings/history',
        '/v1/objects/default/core/configmaps/vault/nothing/history',
      ],
      [
        '/v1/objects/default/core/configmaps/vault/vault-settings/state',
        '/v1/objects/default/core/configmaps/vault/nothing/state',
      ],
      [
        '/v1/objects/vault-prod/apps/deployments/shop/web/state',
        '/v1/objects/nowhere/apps/deployments/shop/web/state',
      ],
      ['/v1/changes?cluster=vault-prod', '/v1/changes?cluster=nowhere'],
      ['/v1/changes?actor=mallory@example.com', '/v1/changes?actor=nemo@example.com'],
      ['/v1/events?cluster=vault-prod', '/v1/events?cluster=nowhere'],
    ];
    const names =
      /vault-settings|nothing|mallory|nemo|vault-prod|nowhere|[0-9a-f-]{36}|\d+-[0-9a-f]{64}-\d+/g;
    for (const [foreign, absent] of pairs) {
      const [one, other] = [await asTenant(foreign), await asTenant(absent)];
      const told = ({ status, json }: Answer) => ({ status, ...json, instance: '', requestID: '' });
      const bare = (answer: Answer) => JSON.stringify(told(answer)).replaceAll(names, 'X');
      expect([foreign, bare(one)]).toEqual([foreign, bare(other)]);
      // The admin is told: the one is there.
      expect([foreign, (await ask(api, foreign)).status]).toEqual([foreign, 200]);
    }
  });

  it('of one cluster sees all of it, and nothing of another', async () => {
    const body = { name: 'cluster-vault', role: 'reader', clusters: ['vault-prod'] };
    const { token } = (await ask(api, '/v1/tokens', { method: 'POST', body })).json;
    const list = async (path: string) => (await ask(api, path, { token })).json.items;
    const changes = await list('/v1/changes');
    expect(changes.map((item: { cluster: string }) => item.cluster)).toEqual(['vault-prod', 'vault-prod']);
    expect(await list('/v1/objects')).toHaveLength(1);
    expect((await ask(api, `/v1/changes/${ownChange}`, { token })).status).toBe(404);
    expect(await list('/v1/changes?cluster=default')).toEqual([]);
  });

  it('sees its own changes, objects, events and actors', async () => {
    const changes = await allItems(api, '/v1/changes', 100).then((all) => all.length);
    expect(changes).toBe(7);
    const { json } = await asTenant('/v1/changes');
    expect(json.items.map((item: { object: { name: string } }) => item.object.name)).toEqual(['web', 'web']);
    expect((await asTenant(`/v1/changes/${ownChange}`)).json.id).toBe(ownChange);
    expect((await asTenant('/v1/objects')).json.items).toHaveLength(1);
    expect((await asTenant('/v1/events')).json.items).toHaveLength(2);
    expect((await asTenant('/v1/actors/alice@example.com/activity')).json.items).toHaveLength(2);
    expect((await asTenant('/v1/changes.ndjson')).text.trim().split('\n')).toHaveLength(2);
    const state = await asTenant('/v1/objects/default/apps/deployments/shop/web/state');
    expect(state.json.object.spec.template.spec.containers[0].image).toBe('web:2');
  });

  it('may not do what is not bounded by its namespaces, however high its role', async () => {
    for (const [method, path] of [
      ['GET', '/v1/tokens'],
      ['GET', '/v1/sources'],
      ['GET', '/v1/access-events'],
      ['GET', '/metrics'],
      ['POST', '/v1/jobs/attribute/run'],
    ] as const) {
      const answer = await asTenant(path, method);
      expect([path, answer.status, answer.json.code]).toEqual([path, 403, 'forbidden']);
    }
  });

  it('leaves no trace of its bounds on the connection it used', async () => {
    for (let i = 0; i < 30; i++) await asTenant(`/v1/changes/${i % 2 ? ownChange : foreignChange}`);
    expect(await allItems(api, '/v1/changes', 100)).toHaveLength(7);
  });
});

describe('Postgres itself', () => {
  it('shows a tenant its rows only, and no table that was not granted', async () => {
    const { rows } = (await api.query(`select id from clusters where name = 'default'`)) as {
      rows: Array<{ id: number }>;
    };
    const store = await openTenantStore(api.pool, [`${rows[0]!.id}/shop`]);
    try {
      const names = await store.pool.query<{ name: string }>('select distinct name from changes');
      expect(names.rows).toEqual([{ name: 'web' }]);
      const events = await store.pool.query<{ count: string }>('select count(*) from events');
      expect(events.rows).toEqual([{ count: '2' }]);
      await expect(store.pool.query('select * from api_tokens')).rejects.toThrow('permission denied');
    } finally {
      await store.release();
    }
  });

  it('shows a tenant no row of another in any table that it may read', async () => {
    const { rows: clusters } = (await api.query('select id, name from clusters')) as {
      rows: Array<{ id: number; name: string }>;
    };
    const id = (name: string) => clusters.find((cluster) => cluster.name === name)!.id;
    const { rows: tables } = (await api.query(
      `select c.relname as name from pg_class c where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
          and not c.relispartition and has_any_column_privilege('whochanged_tenant', c.oid, 'select') order by 1`,
    )) as { rows: Array<{ name: string }> };
    expect(tables.length).toBeGreaterThan(15);
    const seen = async (scope: string, table: string) => {
      const store = await openTenantStore(api.pool, [scope]);
      try {
        // Those columns that are granted.
        const { rows: columns } = await store.pool.query<{ name: string }>(
          `select quote_ident(attname) as name from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped
              and has_column_privilege(attrelid, attnum, 'select')`,
          [table],
        );
        const { rows } = await store.pool.query<{ row: string }>(
          `select row_to_json(t)::text as row from (select ${columns.map(({ name }) => name).join(', ')} from ${table}) t`,
        );
        return rows.map(({ row }) => row);
      } finally {
        await store.release();
      }
    };
    for (const { name } of tables) {
      // Of another cluster: nothing at all, whatever the namespace is called.
      for (const row of await seen(`${id('default')}/shop`, name)) {
        if (SHARED.includes(name)) continue;
        expect([name, FOREIGN.exec(row)]).toEqual([name, null]);
      }
      for (const row of await seen(`${id('default')}/*`, name))
        expect([name, JSON.parse(row).cluster_id ?? JSON.parse(row).id]).toEqual([
          name,
          name === 'policies' ? undefined : id('default'),
        ]);
    }
  });

  it('lets a tenant write nothing, and shows one without a scope nothing', async () => {
    const store = await openTenantStore(api.pool, []);
    try {
      expect((await store.pool.query('select from changes')).rowCount).toBe(0);
      await expect(store.pool.query(`update changes set verb = 'get'`)).rejects.toThrow(/read-only|denied/);
    } finally {
      await store.release();
    }
  });

  it('grants the tenant no table without row-level security', async () => {
    const { rows } = (await api.query(
      `select c.relname from pg_class c where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
          and has_table_privilege('whochanged_tenant', c.oid, 'select') and not c.relrowsecurity`,
    )) as { rows: unknown[] };
    expect(rows).toEqual([]);
  });
});

describe('access events', () => {
  it('tell who asked for what, refusals included, before the answer is given', async () => {
    await asTenant('/v1/changes?namespace=shop');
    await asTenant('/v1/tokens');
    await ask(api, '/v1/changes', { token: 'wc_nothing' });
    const { json } = await ask(api, '/v1/access-events?limit=3');
    expect(
      json.items.map(({ caller, callerKind, status, target, namespaces }: Record<string, unknown>) => ({
        caller,
        callerKind,
        status,
        target,
        namespaces,
      })),
    ).toEqual([
      { caller: '', callerKind: 'none', status: 401, target: '/v1/changes', namespaces: null },
      { caller: 'team-shop', callerKind: 'token', status: 403, target: '/v1/tokens', namespaces: ['shop'] },
      {
        caller: 'team-shop',
        callerKind: 'token',
        status: 200,
        target: '/v1/changes?namespace=shop',
        namespaces: ['shop'],
      },
    ]);
    expect((await ask(api, '/v1/access-events?caller=team-shop&limit=1')).json.items).toHaveLength(1);
  });

  it('tell of what changes something before it is done, and what it asked for', async () => {
    const body = { name: 'ci', role: 'reader', namespaces: ['shop'] };
    expect((await ask(api, '/v1/tokens', { method: 'POST', body })).status).toBe(201);
    const [done, begun] = (await ask(api, '/v1/access-events?route=/v1/tokens&limit=2')).json.items;
    expect(begun).toMatchObject({ method: 'POST', status: 100, caller: 'first admin', asked: body });
    expect(done).toMatchObject({ method: 'POST', status: 201, asked: body, requestID: begun.requestID });
  });

  it('keep from being done what they cannot tell of', async () => {
    const count = async () =>
      ((await api.query('select count(*)::int as count from api_tokens')) as { rows: unknown[] }).rows;
    const before = await count();
    await api.query('alter table access_events rename to access_events_away');
    try {
      const body = { name: 'unseen', role: 'admin' };
      const { status, json } = await ask(api, '/v1/tokens', { method: 'POST', body });
      expect([status, json.code]).toEqual([503, 'store_unavailable']);
      expect((await ask(api, '/v1/changes')).status).toBe(503);
    } finally {
      await api.query('alter table access_events_away rename to access_events');
    }
    expect(await count()).toEqual(before);
  });
});
