import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { settleOutcomesJob } from '../../jobs/settle-outcomes.js';
import { lockCluster } from '../../store/cluster-lock.js';
import { UNKNOWN_SUMMARY } from '../../store/outcomes.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';
import { CONTROLLER, RecordedCluster, type Request, START } from './recorded-cluster.js';

let database: TestDatabase;
let cluster: RecordedCluster;

beforeEach(async () => {
  database = await createTestDatabase();
  database.pool.on('error', () => undefined);
  cluster = await RecordedCluster.create(database);
});

afterEach(async () => {
  await database.drop();
});

/** Runs the job as of `seconds` after START. */
async function settle(seconds: number): Promise<number> {
  const client = await database.pool.connect();
  const silent = () => undefined;
  try {
    const { rows } = await settleOutcomesJob().runOnce({
      client,
      now: () => new Date(START / 1000 + seconds * 1000),
      log: { info: silent, warn: silent, error: silent },
      signal: new AbortController().signal,
    });
    return rows;
  } finally {
    client.release();
  }
}

async function changes() {
  const { rows } = await database.pool.query(
    `select name, class, kind, outcome, summary, after_certainty, completed_at, flags, seq from changes order by at, name`,
  );
  return rows;
}

async function open(): Promise<number> {
  return (await database.pool.query('select from open_requests')).rowCount ?? 0;
}

/** The source goes on telling of later things, so that silence about earlier ones means something. */
const LATER: Request = { at: 400, by: 'alice', verb: 'get', resource: 'pods', namespace: 'prod', name: 'x' };
const patch: Request = {
  at: 0,
  by: 'alice',
  verb: 'patch',
  resource: 'apps/deployments',
  namespace: 'prod',
  name: 'web',
  uid: 'd',
  rv: 9,
  auditID: 'one',
  stage: 'RequestReceived',
};

describe('the settle-outcomes job', () => {
  it('turns a write that was never answered into a change of unknown outcome, after five minutes', async () => {
    await cluster.record(patch, LATER);
    expect(await settle(290)).toBe(0);
    expect(await changes()).toEqual([]);
    expect(await settle(301)).toBe(1);
    expect(await changes()).toMatchObject([
      {
        name: 'web',
        class: 'change',
        kind: 'update',
        outcome: 'unknown',
        summary: UNKNOWN_SUMMARY,
        after_certainty: null,
        completed_at: null,
        flags: null,
      },
    ]);
    expect(await open()).toBe(0);
    expect(await settle(900)).toBe(0);
    expect(await changes()).toHaveLength(1);
  });

  it('gives way to the answer when it comes after all', async () => {
    await cluster.record(patch, LATER);
    await settle(301);
    await cluster.record({ ...patch, stage: 'ResponseComplete', body: { spec: { replicas: 2 } } });
    const rows = await changes();
    expect(rows).toMatchObject([{ name: 'web', outcome: 'succeeded', after_certainty: 'exact' }]);
    expect(await settle(900)).toBe(0);
    expect(await changes()).toEqual(rows);
  });

  it('gives way to a rejection, which is no change', async () => {
    await cluster.record(patch, LATER);
    await settle(301);
    await cluster.record({
      ...patch,
      stage: 'ResponseComplete',
      code: 409,
      response: { kind: 'Status', code: 409 },
    });
    const { rows } = await database.pool.query(
      `select class from events where stage = 'ResponseComplete' and verb = 'patch'`,
    );
    expect(rows).toEqual([{ class: 'rejected' }]);
    expect(await settle(302)).toBe(1);
    expect(await changes()).toEqual([]);
  });

  it('leaves out what was answered, dry runs and reviews', async () => {
    await cluster.record(
      patch,
      { ...patch, at: 1, auditID: 'two', name: 'dry', query: 'dryRun=All' },
      {
        ...patch,
        at: 2,
        auditID: 'three',
        verb: 'create',
        resource: 'authorization.k8s.io/subjectaccessreviews',
        name: 'r',
      },
      LATER,
    );
    // As if the answer had come while another process was about to settle.
    await cluster.record({ ...patch, stage: 'ResponseComplete' });
    await database.pool.query(
      `insert into open_requests select cluster_id, request_id, at, digest, source_id from events where stage = 'RequestReceived' on conflict do nothing`,
    );
    const before = await changes();
    expect(before).toHaveLength(1);
    expect(await settle(303)).toBe(3);
    expect(await changes()).toEqual(before);
    expect(await open()).toBe(0);
  });

  it('tells what it would have been: whose, of what kind, on which object', async () => {
    await cluster.record(
      {
        ...patch,
        at: 1,
        auditID: 'a',
        by: `${CONTROLLER}replicaset-controller`,
        verb: 'create',
        resource: 'pods',
        name: undefined as never,
      },
      {
        ...patch,
        at: 2,
        auditID: 'b',
        verb: 'delete',
        resource: 'namespaces',
        namespace: 'staging',
        name: 'staging',
      },
      { ...patch, at: 3, auditID: 'c', verb: 'create', resource: 'pods', name: 'web-0', subresource: 'exec' },
      LATER,
    );
    expect(await settle(310)).toBe(3);
    expect(await changes()).toMatchObject([
      { name: '', class: 'derived', kind: 'create', outcome: 'unknown' },
      { name: 'staging', class: 'change', kind: 'delete', outcome: 'unknown' },
      { name: 'web-0', class: 'access', kind: 'exec', outcome: 'unknown' },
    ]);
    const { rows } = await database.pool.query(
      `select u.username, o.resource, o.namespace, o.name, c.seq > 0 as numbered from changes c
         join users u on u.cluster_id = c.cluster_id and u.id = c.user_id
         join objects o on o.cluster_id = c.cluster_id and o.id = c.object_id order by c.at`,
    );
    expect(rows).toEqual([
      {
        username: `${CONTROLLER}replicaset-controller`,
        resource: 'pods',
        namespace: 'prod',
        name: '',
        numbered: true,
      },
      { username: 'alice', resource: 'namespaces', namespace: '', name: 'staging', numbered: true },
      { username: 'alice', resource: 'pods', namespace: 'prod', name: 'web-0', numbered: true },
    ]);
    const seqs = (await changes()).map((row) => row.seq);
    expect(new Set(seqs).size).toBe(3);
  });

  it('waits while a source is behind, but not for one that fell silent', async () => {
    await cluster.record(patch);
    // The clock is hours ahead of an old log that is being read just now.
    await database.pool.query('update source_health set last_received_at = $1', [
      new Date(START / 1000 + 7200_000),
    ]);
    expect(await settle(7200)).toBe(0);
    expect(await open()).toBe(1);
    expect(await settle(7200 + 301)).toBe(1);
    expect(await changes()).toMatchObject([{ outcome: 'unknown' }]);
  });

  it('settles more than one batch in a run', async () => {
    const many: Request[] = [];
    for (let i = 0; i < 1100; i++) many.push({ ...patch, at: i / 1000, auditID: `r${i}`, name: `web-${i}` });
    await cluster.record(...many, LATER);
    expect(await settle(310)).toBe(1100);
    expect(await changes()).toHaveLength(1100);
  });

  it('excludes the writers of the cluster meanwhile, so that seq is the order of commit', async () => {
    const client = await database.pool.connect();
    await client.query('begin');
    await lockCluster(client, cluster.clusterID);
    let appended = false;
    const append = cluster.record(patch).then(() => {
      appended = true;
    });
    await sleep(300);
    expect(appended).toBe(false);
    await client.query('rollback');
    client.release();
    await append;
  });
});
