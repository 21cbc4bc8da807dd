import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { PoolClient } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Traffic } from '../../bench/traffic.js';
import { createKysely } from '../../store/database.js';
import { migrate, migrationsFolder } from '../../store/migrate.js';
import { findChangesAfter } from '../../store/queries/changes.js';
import { EVENT_JOINS_SQL, type EventRow, storedDigest } from '../../store/queries/events.js';
import { createEmptyDatabase, type TestDatabase } from '../harness/database.js';
import { Cluster, eventList } from '../harness/events.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';

/** The recorded session, and events whose parts are where such parts seldom are. */
const cluster = new Cluster();
const ODD = [
  { auditID: 'a', requestURI: '/healthz?verbose', objectRef: undefined },
  { auditID: 'fifteen-letters', requestURI: '?', objectRef: undefined },
  { auditID: 'ÿÿ', requestURI: 'https://elsewhere/api/v1/pods' },
  {
    auditID: '5D7B2A4E-0000-4000-8000-00000000000A',
    requestURI: '/apis/apps/v1/namespaces/shop/deployments/odd?',
  },
  { objectRef: { resource: 'pods' }, requestURI: '/api/v1/pods' },
  {
    objectRef: {
      resource: 'pods',
      apiVersion: 'v1',
      uid: 'not-a-uuid',
      resourceVersion: 'x',
      subresource: 'proxy',
    },
  },
  {
    objectRef: {
      resource: 'namespaces',
      namespace: 'shop',
      name: 'shop',
      apiVersion: 'v1',
      subresource: 'finalize',
    },
    requestURI: '/api/v1/namespaces/shop/finalize?fieldManager=x',
  },
  { requestURI: `/apis/apps/v1/namespaces/shop/deployments/odd?labelSelector=${'a'.repeat(300)}` },
  {
    requestURI:
      '/apis/apps/v1/namespaces/shop/deployments/odd?watch=true&resourceVersion=17&timeoutSeconds=9',
  },
  { requestURI: '/apis/apps/v1/namespaces/shop/deployments/odd/status' },
  { responseStatus: { code: 403, reason: 'Forbidden', message: 'no', details: { name: 'odd' } } },
  { responseStatus: { status: 'Success', code: 200 } },
  { responseStatus: undefined },
  {
    annotations: {
      'authorization.k8s.io/decision': 'allow',
      'k8s.io/deprecated': 'true',
      'mutation.webhook.admission.k8s.io/round_0_index_0': '{"mutated":false}',
      'patch.webhook.admission.k8s.io/round_0_index_1': '{"patch":[]}',
      'audit.k8s.io/truncated': 'true',
    },
  },
  { sourceIPs: undefined, userAgent: undefined, annotations: undefined },
  { authenticationMetadata: { impersonationConstraint: 'impersonate:x' } },
].map((odd, n) => ({ ...cluster.deployment('update', 'odd', { image: `web:${n}` }), ...odd }));

let receiver: TestReceiver;
beforeAll(async () => {
  receiver = await startReceiver();
  for (const { body } of new Traffic().batches([0])) expect((await receiver.post(body)).status).toBe(200);
  expect((await receiver.post(eventList(ODD))).status).toBe(200);
});
afterAll(() => receiver.stop());

/** Everything an event is made of, as it stands in the database. */
async function rowsOf({ pool }: TestDatabase): Promise<EventRow[]> {
  const { rows } = await pool.query<EventRow>(
    `select e.*, k.name as cluster, s.name as source, u.username, u.uid as user_uid, u.groups, u.extra, i.username as impersonated_username,
            i.uid as impersonated_uid, i.groups as impersonated_groups, i.extra as impersonated_extra, a.user_agent,
            o.api_group, o.resource, o.namespace, o.name, z.decision, z.reason
       from events e ${EVENT_JOINS_SQL} order by e.seq`,
  );
  return rows;
}

it('puts events together again as they were accepted', async () => {
  const rows = await rowsOf(receiver.database);
  expect(rows.length).toBeGreaterThan(6000);
  expect(rows.filter((row) => !storedDigest(row).equals(row.digest))).toEqual([]);
  const odd = rows.slice(-ODD.length);
  expect(odd.map((row) => row.audit_id).slice(0, 4)).toEqual(ODD.slice(0, 4).map(({ auditID }) => auditID));
  expect(odd.map((row) => row.request_uri)).toEqual(ODD.map(({ requestURI }) => requestURI));
});

it('keeps what repeats once', async () => {
  const { rows } = await receiver.database.pool.query(
    `select (select count(*) from event_contexts)::float8 / (select count(*) from event_rows) as contexts,
            (select count(*) from event_rows where uri_rest is null)::float8 / (select count(*) from event_rows) as derived`,
  );
  expect(rows[0].contexts).toBeLessThan(0.15);
  expect(rows[0].derived).toBeGreaterThan(0.9);
});

it('tells where a change came from by its context, and where it has none by its event', async () => {
  const { pool } = receiver.database;
  const db = createKysely(pool);
  const { rows: said } = await pool.query<{
    cluster_id: number;
    change_id: string;
    source_ips: string[] | null;
  }>(
    `select c.cluster_id, c.change_id, e.source_ips from changes c
       join events e on e.cluster_id = c.cluster_id and e.at = c.at and e.digest = c.event_digest and e.source_id = c.source_id`,
  );
  const clusterID = said[0]!.cluster_id;
  const told = async () => {
    const changes = await findChangesAfter(db, clusterID, '0', {}, true, said.length + 1);
    return new Map(changes.map((row) => [row.change_id, row.source_ips]));
  };
  const sayings = new Map(said.map((row) => [row.change_id, row.source_ips]));
  expect(new Set(said.map((row) => String(row.source_ips))).size).toBeGreaterThan(1);
  const withContexts = await told();
  expect(withContexts.size).toBe(said.length);
  const { rowCount } = await pool.query('update changes set context_id = null where context_id is not null');
  expect(rowCount).toBe(said.length);
  const withEvents = await told();
  expect(withEvents).toEqual(withContexts);
  for (const [id, ips] of withContexts) expect(ips).toEqual(sayings.get(id));
});

it('takes apart what an older version has stored, and loses nothing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-older-'));
  const older = await createEmptyDatabase();
  try {
    await cp(migrationsFolder(), folder, { recursive: true });
    const newer = (await readdir(folder)).filter((name) => name >= '047');
    for (const name of newer) await rm(join(folder, name));
    await migrate(older.pool, folder);
    await older.pool.query(
      `create table events_2026_03 partition of events for values from ('2026-03-01') to ('2026-04-01')`,
    );
    for (const table of [
      'clusters',
      'sources',
      'users',
      'user_agents',
      'objects',
      'authorizations',
      'events',
    ])
      await copyTable(receiver.database, older, table);
    await migrate(older.pool);
    expect(await rowsOf(older)).toEqual(await rowsOf(receiver.database));
    const { rows } = await older.pool.query(
      'select (select count(*) from event_contexts)::float8 / (select count(*) from event_rows) as contexts',
    );
    expect(rows[0].contexts).toBeLessThan(0.15);
  } finally {
    await older.drop();
    await rm(folder, { recursive: true });
  }
});

/** Copies the rows of a table, or view, into the table of that name, in the columns that this one has. */
async function copyTable(from: TestDatabase, to: TestDatabase, table: string): Promise<void> {
  const [source, target]: PoolClient[] = [await from.pool.connect(), await to.pool.connect()];
  try {
    const { rows } = await target!.query<{ columns: string }>(
      `select string_agg(quote_ident(attname), ', ' order by attnum) as columns from pg_attribute
        where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''`,
      [table],
    );
    const { columns } = rows[0]!;
    await pipeline(
      source!.query(copyTo(`copy (select ${columns} from ${table}) to stdout`)),
      target!.query(copyFrom(`copy ${table} (${columns}) from stdin`)),
    );
  } finally {
    source!.release();
    target!.release();
  }
}
