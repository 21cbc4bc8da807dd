import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChangeItem } from '../../api/change-schema.js';
import { allItems, ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApiWithSession } from '../harness/running-api.js';

let api: RunningApi;
/** Every change of the recorded session that a plain answer shows, newest first. */
let visible: ChangeItem[];
/** Those and all others: derived, status, refused, dry runs, leases, ... */
let everything: ChangeItem[];
beforeAll(async () => {
  api = await startApiWithSession();
  visible = await allItems(api, '/v1/changes', 1000);
  everything = await allItems(api, '/v1/changes?all=true', 1000);
});
afterAll(() => api.stop());

const ids = (items: ChangeItem[]) => items.map((item) => item.id);
const order = (a: ChangeItem, b: ChangeItem) =>
  a.at === b.at ? (a.id < b.id ? 1 : -1) : a.at < b.at ? 1 : -1;

describe('pages', () => {
  it.each([1000, 50, 7])('of %i give every change once, newest first', async (limit) => {
    expect(visible.length).toBeGreaterThan(100);
    expect(ids(await allItems(api, '/v1/changes', limit))).toEqual(ids([...visible].sort(order)));
  });

  it('merge changes with requests that changed nothing', async () => {
    expect(ids(await allItems(api, '/v1/changes?all=true', 333))).toEqual(ids([...everything].sort(order)));
    expect(new Set(ids(everything)).size).toBe(everything.length);
  });

  it('go forwards too', async () => {
    expect(ids(await allItems(api, '/v1/changes?order=asc', 90))).toEqual(ids(visible).reverse());
  });

  it('neither repeat nor skip what was there while more comes in', async () => {
    const first = await ask(api, '/v1/changes?limit=20&namespace=shop');
    await api.post(eventList([new Cluster().deployment('create', 'newcomer', { image: 'web:1' })]));
    const rest = await allItems(api, '/v1/changes?namespace=shop', 20, first.json.next);
    const before = visible.filter((item) => item.object.namespace === 'shop');
    const seen = [...first.json.items, ...rest] as ChangeItem[];
    expect(ids(seen).filter((id) => ids(before).includes(id))).toEqual(ids(before));
  });

  it.each([1000, 7])('of %i objects give every object once, by their names', async (limit) => {
    const listed = (await allItems(api, '/v1/objects', limit)) as unknown as Array<{
      object: ChangeItem['object'];
    }>;
    const names = listed.map(({ object }) => object.text);
    const places = listed.map(({ object }) => `${object.namespace ?? ''} ${object.resource} ${object.name}`);
    expect(names.length).toBeGreaterThan(50);
    expect(new Set(names).size).toBe(names.length);
    const changed = visible.filter((item) => item.object.name !== undefined).map((item) => item.object.text);
    expect(names).toEqual(expect.arrayContaining([...new Set(changed)]));
    const first = (await ask(api, '/v1/objects?limit=1000')).json.items as typeof listed;
    expect(names).toEqual(first.map(({ object }) => object.text));
    expect(places.indexOf('shop deployments web')).toBeGreaterThan(
      places.indexOf('shop configmaps settings'),
    );
  });

  it('refuse a cursor that is none', async () => {
    const answer = await ask(api, '/v1/changes?cursor=nonsense');
    expect([answer.status, answer.json.detail]).toEqual([400, expect.stringMatching(/cursor/)]);
  });
});

/** What a filter means, said again over the answers themselves. */
const FILTERS: Array<[query: string, of: 'visible' | 'everything', holds: (item: ChangeItem) => boolean]> = [
  ['namespace=shop', 'visible', (item) => item.object.namespace === 'shop'],
  [
    'namespace=shop&namespace=argocd',
    'visible',
    (item) => ['shop', 'argocd'].includes(item.object.namespace ?? ''),
  ],
  ['resource=deploy', 'visible', (item) => item.object.resource === 'deployments'],
  ['resource=Deployment', 'visible', (item) => item.object.resource === 'deployments'],
  [
    'resource=deployments.apps',
    'visible',
    (item) => item.object.resource === 'deployments' && item.object.group === 'apps',
  ],
  [
    'resource=secrets&resource=cm',
    'visible',
    (item) => ['secrets', 'configmaps'].includes(item.object.resource),
  ],
  ['name=web', 'visible', (item) => item.object.name === 'web'],
  ['name=legacy-*', 'visible', (item) => item.object.name?.startsWith('legacy-') ?? false],
  [
    'name=web&resource=deploy&namespace=shop',
    'visible',
    (item) => item.object.text === 'apps/deployments shop/web',
  ],
  [
    'actor=alice@example.com',
    'visible',
    (item) =>
      item.actor.username === 'alice@example.com' ||
      item.actor.impersonatedUser?.username === 'alice@example.com',
  ],
  [
    'actor=bob@example.com',
    'visible',
    (item) =>
      item.actor.username === 'bob@example.com' ||
      item.actor.impersonatedUser?.username === 'bob@example.com',
  ],
  [
    'actor=system:serviceaccount:*',
    'visible',
    (item) =>
      item.actor.username.startsWith('system:serviceaccount:') ||
      (item.actor.impersonatedUser?.username.startsWith('system:serviceaccount:') ?? false),
  ],
  ['tool=session-script', 'visible', (item) => item.tool.name === 'session-script'],
  ['tool=nothing-of-the-kind', 'everything', () => false],
  ['verb=PATCH&tool=KubeCtl', 'visible', (item) => item.verb === 'patch' && item.tool.name === 'kubectl'],
  ['verb=patch', 'visible', (item) => item.verb === 'patch'],
  [
    'verb=delete&verb=deletecollection',
    'visible',
    (item) => ['delete', 'deletecollection'].includes(item.verb),
  ],
  ['kind=rbac_grant', 'visible', (item) => item.kind === 'rbac_grant'],
  ['kind=exec&kind=attach', 'visible', (item) => item.kind === 'exec' || item.kind === 'attach'],
  ['class=access', 'visible', (item) => item.class === 'access'],
  ['class=derived', 'everything', (item) => item.class === 'derived'],
  ['class=rejected', 'everything', (item) => item.class === 'rejected'],
  ['class=dry_run&class=no_op', 'everything', (item) => ['dry_run', 'no_op'].includes(item.class)],
  ['all=true&namespace=shop', 'everything', (item) => item.object.namespace === 'shop'],
  ['all=true&namespace=doomed', 'everything', (item) => item.object.namespace === 'doomed'],
  [
    'class=derived&class=change&namespace=doomed&namespace=argocd&resource=cm',
    'everything',
    (item) =>
      ['derived', 'change'].includes(item.class) &&
      ['doomed', 'argocd'].includes(item.object.namespace ?? '') &&
      item.object.resource === 'configmaps',
  ],
  [
    'all=true&tool=kubectl&verb=create',
    'everything',
    (item) => item.tool.name === 'kubectl' && item.verb === 'create',
  ],
  [
    'all=true&actor=alice@example.com',
    'everything',
    (item) =>
      item.actor.username === 'alice@example.com' ||
      item.actor.impersonatedUser?.username === 'alice@example.com',
  ],
  [
    'since=2026-11-24T13:39:00Z&until=2026-11-24T13:40:00Z',
    'visible',
    (item) => item.at >= '2026-11-24T13:39:00' && item.at < '2026-11-24T13:40:00',
  ],
  ['field=spec.replicas', 'visible', (item) => fields(item).some((path) => under(path, 'spec.replicas'))],
  ['field=spec.template', 'visible', (item) => fields(item).some((path) => under(path, 'spec.template'))],
  [
    'field=spec.template.spec.containers[web].image',
    'visible',
    (item) => fields(item).some((path) => under(path, 'spec.template.spec.containers[web].image')),
  ],
  [
    'field=spec.template.spec.containers[*].image',
    'visible',
    (item) => withItem(item, /^spec\.template\.spec\.containers\[[^\]]+\](\.image)?$/),
  ],
  [
    'field=spec.template.spec.containers[metrics].image',
    'visible',
    (item) => withItem(item, /^spec\.template\.spec\.containers\[metrics\]$/),
  ],
  ['field=metadata.labels', 'visible', (item) => fields(item).some((path) => under(path, 'metadata.labels'))],
];

/** The changes of a field that came or went with the item of a list around it. */
function withItem(item: ChangeItem, path: RegExp): boolean {
  return (item.diff ?? []).some(({ op, path: own }) => op !== 'reorder' && path.test(own));
}

function fields(item: ChangeItem): string[] {
  return (item.diff ?? []).map((change) => change.path);
}
function under(path: string, prefix: string): boolean {
  return path === prefix || path.startsWith(`${prefix}.`) || path.startsWith(`${prefix}[`);
}

describe('filters', () => {
  it.each(FILTERS)('%s', async (query, of, holds) => {
    const all = (of === 'visible' ? visible : everything).filter(holds);
    const found = await allItems(api, `/v1/changes?${query.replaceAll('*', '%2A')}`, 1000);
    // The newcomer of the test above is not part of the session.
    const wanted = found.filter((item: ChangeItem) => item.object.name !== 'newcomer');
    expect(ids(wanted)).toEqual(ids(all));
    if (!query.includes('nothing')) expect(all.length).toBeGreaterThan(0);
  });

  it('by label holds for what stood on the object', async () => {
    const found = (await allItems(
      api,
      '/v1/changes?label=app%3Dweb&resource=deploy&namespace=shop',
      100,
    )) as ChangeItem[];
    expect(found.length).toBeGreaterThan(10);
    expect(new Set(found.map((item) => item.object.text))).toContain('apps/deployments shop/web');
    const both = (label: string) =>
      allItems(api, `/v1/changes?resource=deploy&namespace=shop&label=${encodeURIComponent(label)}`, 100);
    const narrower = ids(await both('app==web, tier=frontend'));
    expect(narrower.length).toBeGreaterThan(3);
    expect(narrower.length).toBeLessThan(found.length);
    expect(narrower).toEqual(
      ids(
        await allItems(
          api,
          '/v1/changes?resource=deploy&namespace=shop&label=app%3Dweb&label=tier%3Dfrontend',
          100,
        ),
      ),
    );
  });

  it('by label holds for what was lost, too: deletions, labels taken away, and who was in a pod', async () => {
    const labelled = async (label: string) =>
      (await allItems(api, `/v1/changes?all=true&label=${encodeURIComponent(label)}`, 1000)) as ChangeItem[];
    const web = await labelled('app=web');
    expect(web.map((item) => [item.object.text, item.kind])).toContainEqual([
      'apps/deployments shop/web',
      'delete',
    ]);

    const box = new Set((await labelled('run=box')).map((item) => item.kind));
    expect([...box]).toEqual(
      expect.arrayContaining(['create', 'exec', 'attach', 'port_forward', 'eviction']),
    );

    const relabelled = everything.flatMap((item) =>
      (item.diff ?? []).flatMap(({ path, op, before }) => {
        const key = /^metadata\.labels(?:\.([\w-]+)|\["([^"]+)"\])$/.exec(path);
        return key && op !== 'add' && typeof before === 'string'
          ? [{ id: item.id, label: `${key[1] ?? key[2]}=${before}` }]
          : [];
      }),
    );
    expect(relabelled.length).toBeGreaterThan(0);
    for (const { id, label } of relabelled) expect(ids(await labelled(label))).toContain(id);
  });

  it.each(['', '&all=true', '&namespace=shop', '&actor=alice@example.com'])(
    'leave as many for the density over time as for the list: "%s"',
    async (query) => {
      const window = 'since=2026-11-24T13:37:50Z&until=2026-11-24T13:40:12.5Z';
      const listed = (await allItems(api, `/v1/changes?${window}${query}`, 1000)) as ChangeItem[];
      const { json } = await ask(api, `/v1/changes/density?${window}${query}&buckets=50`);
      expect(json.bucketSeconds).toBe(5);
      const counts = new Map<string, number>();
      for (const { at } of listed) {
        const begins = new Date(Math.floor(Date.parse(at) / 5000) * 5000).toISOString();
        counts.set(begins, (counts.get(begins) ?? 0) + 1);
      }
      expect(counts.size).toBeGreaterThan(5);
      expect(
        json.items.map((item: { at: string; count: number }) => [
          new Date(item.at).toISOString(),
          item.count,
        ]),
      ).toEqual([...counts].sort());
    },
  );

  it.each(['', '&all=true', '&class=rejected', '&name=web*'])(
    'are whole where they are looked for in two steps: "%s"',
    async (query) => {
      const asked = `/v1/changes?until=2027-01-01T00:00:00Z${query}`;
      const whole = (await allItems(api, asked, 1000)) as ChangeItem[];
      const middle = Date.parse(whole[Math.floor(whole.length / 2)]!.at);
      // A list begins with the last month of what is asked for: here it ends in the middle of the session.
      const until = new Date(middle + 31 * 86_400_000).toISOString();
      for (const limit of [1000, 7])
        expect(
          ((await allItems(api, `/v1/changes?until=${until}${query}`, limit)) as ChangeItem[]).map(
            ({ id }) => id,
          ),
        ).toEqual(whole.map(({ id }) => id));
    },
  );

  it('leave as many for the density of whole hours, which are counted before anybody asks', async () => {
    const window = 'since=2026-11-24T01:20:00Z&until=2026-11-25T03:40:00.5Z';
    const listed = (await allItems(api, `/v1/changes?${window}`, 1000)) as ChangeItem[];
    const counted = async (query: string) => {
      const { json } = await ask(api, `/v1/changes/density?${window}${query}&buckets=30`);
      expect(json.bucketSeconds).toBe(3600);
      return json.items as Array<{ at: string; count: number }>;
    };
    const items = await counted('');
    expect(items.reduce((sum, { count }) => sum + count, 0)).toBe(listed.length);
    expect(listed.length).toBeGreaterThan(20);
    // What narrows the question is counted when it is asked.
    expect(items).toEqual(await counted('&class=change&class=access'));
  });

  it.each([
    ['limit=0', /^query parameter limit: /],
    ['limit=x', /^query parameter limit: /],
    ['kind=nonsense', /^query parameter kind: must be one of create, /],
    ['class=nonsense', /^query parameter class: must be one of change, /],
    ['since=yesterday', /since/],
    ['label=app', /label/],
    ['label=app%21%3Dweb', /label/],
    ['label=app+in+(web)', /label/],
    ['after_seq=0&class=rejected', /^after_seq: requests of class rejected change nothing/],
    ['field=spec[', /at character/],
    ['order=up', /^query parameter order: must be one of desc, asc/],
  ])('%s is refused with what is wrong', async (query, detail) => {
    const answer = await ask(api, `/v1/changes?${query}`);
    expect(answer.status).toBe(400);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(answer.json).toMatchObject({ code: 'invalid_request', detail: expect.stringMatching(detail) });
  });
});

describe('exports', () => {
  it('stream the same changes as NDJSON and CSV', async () => {
    const query = 'namespace=shop&until=2026-11-25T00:00:00Z&since=2026-11-24T00:00:00Z';
    const listed = await allItems(api, `/v1/changes?${query}`, 100);
    const ndjson = await ask(api, `/v1/changes.ndjson?${query}`);
    expect(ndjson.headers.get('content-type')).toMatch(/ndjson/);
    const lines = ndjson.text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as ChangeItem);
    expect(ids(lines)).toEqual(ids(listed as ChangeItem[]));
    const csv = await ask(api, `/v1/changes.csv?${query}`);
    expect(csv.headers.get('content-type')).toMatch(/text\/csv/);
    for (const id of ids(lines)) expect(csv.text).toContain(id);
  });
});

describe('more objects and users than can be listed', () => {
  const MANY = 2500;
  const deployer = 'system:serviceaccount:many:deployer';

  beforeAll(async () => {
    const cluster = new Cluster();
    const ref = (n: number) => ({ resource: 'configmaps', namespace: 'many', name: `many-${n}` });
    const events = Array.from({ length: MANY }, (_, n) =>
      cluster.write(
        'create',
        ref(n),
        { kind: 'ConfigMap', data: { n: String(n) } },
        // Each token of a service account is another user to Kubernetes.
        {
          user: { username: deployer, extra: { 'authentication.kubernetes.io/credential-id': [`JTI=${n}`] } },
        },
      ),
    );
    await api.post(eventList(events));
  });

  it.each(['name=many-%2A', `actor=${deployer}`, 'actor=system:serviceaccount:many:%2A'])(
    'are told to the last by %s',
    async (query) => {
      expect((await allItems(api, `/v1/changes?${query}`, 1000)).length).toBe(MANY);
      const newest = await ask(api, `/v1/changes?${query}&limit=3`);
      expect(newest.json.items.map((item: ChangeItem) => item.object.name)).toEqual(
        [1, 2, 3].map((n) => `many-${MANY - n}`),
      );
      expect((await allItems(api, `/v1/changes?${query}&all=true`, 1000)).length).toBe(MANY);
    },
  );
});

describe('following', () => {
  it('gives what was committed after a place, late events included', async () => {
    const { default: seq } = (await ask(api, '/v1/changes/last-seq')).json;
    const cluster = new Cluster();
    await api.post(eventList([cluster.deployment('create', 'late', { image: 'web:1' })]));
    const page = await ask(api, `/v1/changes?cluster=default&after_seq=${seq}`);
    expect(page.json.items.map((item: ChangeItem) => item.object.name)).toEqual(['late']);
  });
});
