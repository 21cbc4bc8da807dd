import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { attributeJob } from '../../jobs/attribute.js';
import type { JobContext } from '../../jobs/job.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';
import { CONTROLLER, RecordedCluster, type Request, statusOf } from './recorded-cluster.js';

let database: TestDatabase;
let cluster: RecordedCluster;
let now: Date;

beforeEach(async () => {
  database = await createTestDatabase();
  // Sessions that end while the database is dropped say so to nobody.
  database.pool.on('error', () => undefined);
  cluster = await RecordedCluster.create(database);
  now = new Date('2026-03-01T12:00:00Z');
});

afterEach(async () => {
  await database.drop();
});

async function run(job = attributeJob()): Promise<number> {
  const client = await database.pool.connect();
  try {
    const failures: unknown[] = [];
    const context: JobContext = {
      client,
      now: () => now,
      log: { info: () => undefined, warn: () => undefined, error: (fields) => failures.push(fields) },
      signal: new AbortController().signal,
    };
    const { rows } = await job.runOnce(context);
    expect(failures).toEqual([]);
    return rows;
  } finally {
    client.release();
  }
}

interface Told {
  name: string;
  verb: string;
  state: string;
  rule: string;
  reason: string | null;
  root: string | null;
  trigger: string | null;
  content: string | null;
}

/** Every attribution in the ledger, with its trigger and content as `user verb name`. */
async function attributions(): Promise<Told[]> {
  const { rows } = await database.pool.query<Told>(
    `select c.name, case when c.subresource is null then c.verb else c.subresource end as verb, a.state, a.rule, a.reason,
            r.resource || ' ' || r.name as root, t.who as trigger, k.who as content
       from attributions a join changes c using (cluster_id, change_id)
       left join objects r on r.cluster_id = a.cluster_id and r.id = a.root_object_id
       left join lateral (select u.username || ' ' || coalesce(x.subresource, x.verb) || ' ' || x.name as who from changes x
                            join users u on u.cluster_id = x.cluster_id and u.id = x.user_id
                           where x.cluster_id = a.cluster_id and x.change_id = a.trigger_change_id) t on true
       left join lateral (select u.username || ' ' || coalesce(x.subresource, x.verb) || ' ' || x.name as who from changes x
                            join users u on u.cluster_id = x.cluster_id and u.id = x.user_id
                           where x.cluster_id = a.cluster_id and x.change_id = a.content_change_id) k on true
      order by c.at, c.name`,
  );
  return rows;
}

async function told(name: string, verb = 'create'): Promise<Told> {
  const found = (await attributions()).filter((row) => row.name === name && row.verb === verb);
  expect(found, `attributions of ${verb} ${name}`).toHaveLength(1);
  return found[0]!;
}

const template = (image: string) => ({ spec: { containers: [{ name: 'web', image }] } });
const web = (
  at: number,
  by: string,
  rv: number,
  spec: Record<string, unknown>,
  verb = 'update',
): Request => ({
  at,
  by,
  verb,
  resource: 'apps/deployments',
  namespace: 'prod',
  name: 'web',
  uid: 'd',
  rv,
  body: { spec },
});
const replicaSet = (at: number, rv: number, name: string, replicas: number, verb = 'create'): Request => ({
  at,
  by: `${CONTROLLER}deployment-controller`,
  verb,
  resource: 'apps/replicasets',
  namespace: 'prod',
  name,
  uid: `rs-${name}`,
  rv,
  owner: { kind: 'Deployment', name: 'web', uid: 'd' },
  body: { spec: { replicas } },
});
const pod = (at: number, rv: number, set: string, name: string): Request => ({
  at,
  by: `${CONTROLLER}replicaset-controller`,
  verb: 'create',
  resource: 'pods',
  namespace: 'prod',
  name,
  uid: `pod-${name}`,
  rv,
  owner: { kind: 'ReplicaSet', name: set, uid: `rs-${set}` },
  body: { spec: { containers: [{ name: 'web', image: 'x' }] } },
});
const DEPLOYED = [
  web(0, 'alice', 10, { replicas: 1, template: template('web:1') }, 'create'),
  replicaSet(0.1, 11, 'web-1', 1),
  pod(0.2, 12, 'web-1', 'web-1-a'),
];

describe('the attribute job', () => {
  it('traces a rollout through its ReplicaSets, and does nothing twice', async () => {
    await cluster.record(...DEPLOYED);
    await cluster.record(
      web(100, 'bob', 20, { replicas: 1, template: template('web:2') }),
      replicaSet(100.1, 21, 'web-2', 1),
      pod(100.2, 22, 'web-2', 'web-2-a'),
      replicaSet(101, 23, 'web-1', 0, 'update'),
      {
        at: 101.1,
        by: `${CONTROLLER}replicaset-controller`,
        verb: 'delete',
        resource: 'pods',
        namespace: 'prod',
        name: 'web-1-a',
        response: statusOf('pods', 'web-1-a', 'pod-web-1-a'),
      },
    );
    expect(await run()).toBe(6);
    expect(await told('web-1-a')).toMatchObject({
      state: 'resolved',
      rule: 'owner_chain',
      root: 'deployments web',
      trigger: 'alice create web',
      content: 'alice create web',
    });
    expect(await told('web-2-a')).toMatchObject({
      root: 'deployments web',
      trigger: 'bob update web',
      content: 'bob update web',
    });
    expect(await told('web-1', 'update')).toMatchObject({
      trigger: 'bob update web',
      content: 'alice create web',
    });
    expect(await told('web-1-a', 'delete')).toMatchObject({
      state: 'resolved',
      trigger: 'bob update web',
      content: 'alice create web',
    });
    expect(await run()).toBe(0);
  });

  it("blames an eviction on the evictor and keeps the content (golden 27), finding the deletion's end as well", async () => {
    await cluster.record(...DEPLOYED);
    await cluster.record(
      {
        at: 900,
        by: 'erin',
        verb: 'create',
        resource: 'pods',
        namespace: 'prod',
        name: 'web-1-a',
        subresource: 'eviction',
        request: {
          kind: 'Eviction',
          apiVersion: 'policy/v1',
          metadata: { name: 'web-1-a', namespace: 'prod' },
        },
        response: { kind: 'Status', apiVersion: 'v1', status: 'Success' },
      },
      pod(900.1, 50, 'web-1', 'web-1-b'),
      {
        at: 930,
        by: 'system:node:n1',
        verb: 'delete',
        resource: 'pods',
        namespace: 'prod',
        name: 'web-1-a',
        response: statusOf('pods', 'web-1-a', 'pod-web-1-a'),
      },
    );
    await run();
    expect(await told('web-1-b')).toMatchObject({
      state: 'resolved',
      trigger: 'erin eviction web-1-a',
      content: 'alice create web',
    });
    expect(await told('web-1-a', 'delete')).toMatchObject({
      state: 'resolved',
      rule: 'termination',
      trigger: 'erin eviction web-1-a',
    });
  });

  it('names the content of a rollback however many changes lie between', async () => {
    await cluster.record(...DEPLOYED);
    const churn: Request[] = [];
    for (let i = 0; i < 60; i++)
      churn.push(web(100 + i * 10, 'bob', 100 + i, { replicas: 1, template: template(`web:${i + 2}`) }));
    await cluster.record(...churn);
    await cluster.record(
      web(5000, 'carol', 500, { replicas: 1, template: template('web:1') }),
      replicaSet(5000.1, 501, 'web-1', 2, 'update'),
      pod(5000.2, 502, 'web-1', 'web-1-b'),
    );
    await run();
    expect(await told('web-1-b')).toMatchObject({
      state: 'resolved',
      trigger: 'carol update web',
      content: 'alice create web',
    });
  });

  it('says what is missing, and resolves it when late evidence comes', async () => {
    await cluster.record(pod(0.2, 12, 'web-1', 'web-1-a'));
    await run();
    expect(await told('web-1-a')).toMatchObject({
      state: 'unresolved',
      root: null,
      reason: 'owner ReplicaSet web-1 (uid rs-web-1) has no recorded history',
    });
    // The ReplicaSet's creation comes before its Deployment's, from another apiserver.
    await cluster.record(DEPLOYED[1]!);
    now = new Date(now.getTime() + 11_000);
    await run();
    expect(await told('web-1-a')).toMatchObject({
      state: 'unresolved',
      reason: expect.stringContaining('Deployment web (uid d)'),
    });
    await cluster.record(DEPLOYED[0]!);
    now = new Date(now.getTime() + 15_000);
    await run();
    expect(await told('web-1')).toMatchObject({ state: 'resolved', trigger: 'alice create web' });
    now = new Date(now.getTime() + 60_000);
    await run();
    expect(await told('web-1-a')).toMatchObject({
      state: 'resolved',
      root: 'deployments web',
      trigger: 'alice create web',
    });
  });

  it('gives up waiting after half an hour', async () => {
    await cluster.record(pod(0.2, 12, 'web-1', 'web-1-a'));
    await run();
    now = new Date(now.getTime() + 31 * 60_000);
    await cluster.record(DEPLOYED[0]!, DEPLOYED[1]!);
    await run();
    expect(await told('web-1')).toMatchObject({ state: 'resolved' });
    expect(await told('web-1-a')).toMatchObject({ state: 'unresolved' });
  });

  it('overturns an answer when its true trigger arrives late', async () => {
    await cluster.record(
      ...DEPLOYED,
      replicaSet(50, 31, 'web-1', 2, 'update'),
      pod(50.1, 32, 'web-1', 'web-1-b'),
    );
    await run();
    expect(await told('web-1-b')).toMatchObject({ trigger: 'alice create web' });
    await cluster.record(web(49.9, 'carol', 30, { replicas: 2, template: template('web:1') }));
    await run();
    expect(await told('web-1', 'update')).toMatchObject({ trigger: 'carol update web' });
    expect(await told('web-1-b')).toMatchObject({ trigger: 'carol update web', content: 'alice create web' });
    expect(await told('web-1-a')).toMatchObject({ trigger: 'alice create web' });
  });

  it('traces the items of a collection, a finalizer and what the garbage collector removes', async () => {
    const configMap = (name: string) => ({
      metadata: { name, namespace: 'prod', uid: `cm-${name}`, resourceVersion: '5' },
      data: { a: 'b' },
    });
    await cluster.record(
      ...DEPLOYED,
      {
        at: 10,
        by: 'bob',
        verb: 'deletecollection',
        resource: 'configmaps',
        namespace: 'prod',
        response: {
          kind: 'ConfigMapList',
          apiVersion: 'v1',
          metadata: {},
          items: [configMap('one'), configMap('two')],
        },
      },
      {
        at: 20,
        by: 'carol',
        verb: 'delete',
        resource: 'configmaps',
        namespace: 'prod',
        name: 'held',
        uid: 'held',
        rv: 60,
        metadata: { deletionTimestamp: '2026-03-01T10:00:20Z', finalizers: ['example.com/hold'] },
      },
      {
        at: 30,
        by: 'holder',
        verb: 'update',
        resource: 'configmaps',
        namespace: 'prod',
        name: 'held',
        uid: 'held',
        rv: 61,
        metadata: { deletionTimestamp: '2026-03-01T10:00:20Z', deletionGracePeriodSeconds: 0 },
      },
      {
        at: 40,
        by: 'dave',
        verb: 'delete',
        resource: 'apps/deployments',
        namespace: 'prod',
        name: 'web',
        response: statusOf('deployments', 'web', 'd'),
      },
      {
        at: 40.1,
        by: `${CONTROLLER}generic-garbage-collector`,
        verb: 'delete',
        resource: 'apps/replicasets',
        namespace: 'prod',
        name: 'web-1',
        response: statusOf('replicasets', 'web-1', 'rs-web-1'),
      },
      {
        at: 40.2,
        by: `${CONTROLLER}generic-garbage-collector`,
        verb: 'delete',
        resource: 'pods',
        namespace: 'prod',
        name: 'web-1-a',
        response: statusOf('pods', 'web-1-a', 'pod-web-1-a'),
      },
    );
    await run();
    for (const name of ['one', 'two']) {
      expect(await told(name, 'delete')).toMatchObject({
        state: 'resolved',
        rule: 'collection',
        trigger: 'bob deletecollection ',
      });
    }
    expect(await told('held', 'update')).toMatchObject({
      state: 'resolved',
      rule: 'finalizer',
      trigger: 'carol delete held',
    });
    expect(await told('web-1', 'delete')).toMatchObject({
      state: 'resolved',
      rule: 'garbage_collection',
      trigger: 'dave delete web',
      root: 'deployments web',
    });
    expect(await told('web-1-a', 'delete')).toMatchObject({
      state: 'resolved',
      trigger: 'dave delete web',
      root: 'deployments web',
    });
  });

  it('looks into bodies for what an autoscaler scales and which pods an EndpointSlice lists', async () => {
    const slice = (at: number, rv: number, verb: string, pods: string[]): Request => ({
      at,
      by: `${CONTROLLER}endpointslice-controller`,
      verb,
      resource: 'discovery.k8s.io/endpointslices',
      namespace: 'prod',
      name: 'web-s',
      uid: 'es',
      rv,
      owner: { kind: 'Service', name: 'web', uid: 'svc' },
      metadata: { labels: { 'kubernetes.io/service-name': 'web' } },
      body: {
        endpoints: pods.map((name) => ({
          addresses: ['10.1.1.1'],
          conditions: { ready: true },
          targetRef: { kind: 'Pod', name, uid: `pod-${name}` },
        })),
      },
    });
    await cluster.record(
      {
        at: -50,
        by: 'alice',
        verb: 'create',
        resource: 'services',
        namespace: 'prod',
        name: 'web',
        uid: 'svc',
        rv: 3,
        body: { spec: { ports: [] } },
      },
      slice(-49.9, 4, 'create', []),
      ...DEPLOYED,
      slice(3, 13, 'update', ['web-1-a']),
      {
        at: 10,
        by: 'alice',
        verb: 'create',
        resource: 'autoscaling/horizontalpodautoscalers',
        namespace: 'prod',
        name: 'web-hpa',
        uid: 'h',
        rv: 14,
        body: {
          spec: {
            scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
            maxReplicas: 5,
          },
        },
      },
      {
        at: 500,
        by: `${CONTROLLER}horizontal-pod-autoscaler`,
        verb: 'update',
        resource: 'apps/deployments',
        namespace: 'prod',
        name: 'web',
        subresource: 'scale',
        response: {
          kind: 'Scale',
          apiVersion: 'autoscaling/v1',
          metadata: { name: 'web', namespace: 'prod', uid: 'd', resourceVersion: '50' },
          spec: { replicas: 2 },
        },
      },
      replicaSet(500.1, 51, 'web-1', 2, 'update'),
      pod(500.2, 52, 'web-1', 'web-1-b'),
    );
    await run();
    expect(await told('web-s')).toMatchObject({
      rule: 'endpoints',
      root: 'services web',
      trigger: 'alice create web',
    });
    expect(await told('web-s', 'update')).toMatchObject({
      state: 'resolved',
      rule: 'endpoints',
      root: 'services web',
      trigger: 'alice create web',
    });
    expect(await told('web', 'scale')).toMatchObject({
      state: 'resolved',
      rule: 'autoscaler',
      root: 'horizontalpodautoscalers web-hpa',
      trigger: null,
    });
    expect(await told('web-1-b')).toMatchObject({
      state: 'resolved',
      root: 'deployments web',
      trigger: `${CONTROLLER}horizontal-pod-autoscaler scale web`,
      content: 'alice create web',
    });
  });

  it('takes many changes with few statements, over window borders, each cluster apart', async () => {
    const other = await RecordedCluster.create(database, 'other');
    const rollout: Request[] = [
      web(0, 'alice', 10, { replicas: 1200, template: template('web:1') }, 'create'),
      replicaSet(0.1, 11, 'web-1', 1200),
    ];
    for (let i = 0; i < 1200; i++) rollout.push(pod(0.2 + i / 1000, 12 + i, 'web-1', `web-1-${i}`));
    await cluster.record(...rollout);
    await other.record(pod(0.2, 12, 'web-1', 'lonely'));
    let statements = 0;
    const client = await database.pool.connect();
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    client.query = ((...args: unknown[]) => {
      statements++;
      return query(...args);
    }) as typeof client.query;
    const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const { rows } = await attributeJob().runOnce({
      client,
      now: () => now,
      log: silent,
      signal: new AbortController().signal,
    });
    client.release();
    expect(rows).toBe(1202);
    expect(statements).toBeLessThan(60);
    const { rows: states } = await database.pool.query(
      'select cluster_id, state, count(*)::int from attributions group by 1, 2 order by 1',
    );
    expect(states).toEqual([
      { cluster_id: cluster.clusterID, state: 'resolved', count: 1201 },
      { cluster_id: other.clusterID, state: 'unresolved', count: 1 },
    ]);
  });

  it('that breaks off goes on where it stopped', async () => {
    const requests: Request[] = [...DEPLOYED];
    for (let i = 0; i < 1500; i++) requests.push({ ...pod(1 + i / 1000, 100 + i, 'web-1', `p-${i}`) });
    await cluster.record(...requests);
    const client = await database.pool.connect();
    client.on('error', () => undefined);
    const pid = (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid;
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    let commits = 0;
    client.query = ((...args: unknown[]) => {
      // The server ends the session in the middle of the second transaction.
      if (args[0] === 'commit' && ++commits === 2) {
        return database.pool.query('select pg_terminate_backend($1)', [pid]).then(() => query('commit'));
      }
      return query(...args);
    }) as typeof client.query;
    const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
    await expect(
      attributeJob().runOnce({ client, now: () => now, log: silent, signal: new AbortController().signal }),
    ).rejects.toThrow();
    client.release(true);
    const count = async () =>
      (await database.pool.query<{ n: number }>('select count(*)::int as n from attributions')).rows[0]!.n;
    expect(await count()).toBeGreaterThan(0);
    expect(await count()).toBeLessThan(1502);
    await run();
    expect(await count()).toBe(1502);
  });
});
