import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventList } from '../harness/events.js';
import { addSource, startReceiver, type TestReceiver } from '../harness/receiver.js';

let receiver: TestReceiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver.stop());

async function rows<T extends Record<string, unknown>>(sql: string, values: unknown[] = []): Promise<T[]> {
  return (await receiver.database.pool.query(sql, values)).rows as T[];
}

describe('the webhook receiver', () => {
  it('stores a batch once, however often and however packed it comes', async () => {
    const cluster = new Cluster();
    const body = eventList([
      cluster.deployment('create', 'twice', { image: 'a:1' }),
      cluster.deployment('patch', 'twice', { image: 'a:2' }),
    ]);
    expect(await receiver.post(body)).toEqual({
      status: 200,
      body: { events: 2, stored: 2, duplicates: 0, quarantined: 0, spooled: 0 },
    });
    const together = await Promise.all([
      receiver.post(body),
      receiver.post(gzipSync(body), { 'content-encoding': 'gzip' }),
      receiver.post(body),
    ]);
    for (const answer of together)
      expect(answer).toMatchObject({ status: 200, body: { stored: 0, duplicates: 2 } });
    expect(await rows(`select kind, summary from changes where name = 'twice' order by at`)).toEqual([
      { kind: 'create', summary: 'created (a:1, 1 replica)' },
      { kind: 'update', summary: 'image web: a:1 → a:2' },
    ]);
  });

  it('lets a source in that another replica added right after an unknown one was refused', async () => {
    const cluster = new Cluster();
    const body = eventList([cluster.deployment('create', 'new-source', { image: 'a:1' })]);
    for (const name of ['new-1', 'new-2', 'new-3']) {
      expect(await receiver.post(body, {}, 'unknown')).toMatchObject({ status: 401 });
      const authorization = `Bearer ${await addSource(receiver.database, name)}`;
      expect(await receiver.post(body, { authorization }, name)).toMatchObject({ status: 200 });
    }
  });

  it('quarantines what it cannot read, says why, and keeps the rest', async () => {
    const cluster = new Cluster();
    const good = [
      cluster.deployment('create', 'good-1', { image: 'a' }),
      cluster.deployment('create', 'good-2', { image: 'a' }),
    ];
    const bad = cluster.event({
      level: 'nonsense',
      verb: 'create',
      requestURI: '/x',
      requestObject: { kind: 'Secret', data: { pw: 'c3ludGhldGljLXF1YXJhbnRpbmU=' } },
    });
    const text = eventList([good[0], '@broken@', bad, good[1]]).replace(
      '"@broken@"',
      '{"auditID":"x","verb":"get",,"token":"synthetic-broken-value"}',
    );
    expect(await receiver.post(text)).toMatchObject({ status: 200, body: { stored: 2, quarantined: 2 } });
    const kept = await rows<{ reason: string; detail: string; sample: string; replayable: boolean }>(
      'select reason, detail, sample, replayable from quarantine order by id',
    );
    expect(kept.map(({ reason, detail, replayable }) => ({ reason, detail, replayable }))).toEqual([
      { reason: 'not_json', detail: expect.stringMatching(/^item 1: not valid JSON/), replayable: false },
      {
        reason: 'invalid_field',
        detail: expect.stringMatching(/^item 2: level: expected one of None/),
        replayable: true,
      },
    ]);
    expect(JSON.stringify(kept)).not.toMatch(/synthetic-broken-value|c3ludGhldGljLXF1YXJhbnRpbmU/);
    expect(kept[1]!.sample).toContain('[redacted:');
  });

  it('refuses only a body that is no list of events', async () => {
    expect(await receiver.post('hello')).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', hint: expect.stringContaining('EventList') },
    });
    expect(await receiver.post('')).toMatchObject({ status: 400 });
    expect(await receiver.post('x', { 'content-encoding': 'br' })).toMatchObject({ status: 415 });
    expect(await receiver.post(eventList([]))).toMatchObject({ status: 200, body: { events: 0 } });
    expect(
      await receiver.post('{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":null}'),
    ).toMatchObject({ status: 200 });
  });

  it('lets in only the source\u2019s own credentials, old and new while they overlap', async () => {
    const body = eventList([]);
    expect(await receiver.post(body, { authorization: 'Bearer wcs_wrong' })).toMatchObject({
      status: 401,
      body: { code: 'unauthenticated' },
    });
    expect(await receiver.post(body, { authorization: '' })).toMatchObject({ status: 401 });
    expect(await receiver.post(body, {}, 'prod-b')).toMatchObject({ status: 401 });
    const digest = createHash('sha256').update('wcs_second').digest();
    await rows(
      `insert into source_credentials (source_id, kind, secret_sha256) select id, 'token', $1 from sources where name = 'prod-a'`,
      [digest],
    );
    await receiver.ingest.webhook.registry.refresh();
    expect(await receiver.post(body, { authorization: 'Bearer wcs_second' })).toMatchObject({ status: 200 });
    expect(await receiver.post(body)).toMatchObject({ status: 200 });
    await rows(
      `update source_credentials set expires_at = now() - interval '1 second' where secret_sha256 = $1`,
      [digest],
    );
    await receiver.ingest.webhook.registry.refresh();
    expect(await receiver.post(body, { authorization: 'Bearer wcs_second' })).toMatchObject({ status: 401 });
  });

  it('keeps both requests of a reused auditID, and flags them', async () => {
    const cluster = new Cluster();
    const first = cluster.deployment('create', 'reused-1', { image: 'a' });
    const second = { ...cluster.deployment('create', 'reused-2', { image: 'a' }), auditID: first.auditID };
    await receiver.post(eventList([first]));
    await receiver.post(eventList([second]));
    expect(await rows(`select name, flags from changes where name like 'reused-%' order by name`)).toEqual([
      { name: 'reused-1', flags: ['audit_id_reused'] },
      { name: 'reused-2', flags: ['audit_id_reused'] },
    ]);
    expect(await rows(`select kind, detail->>'auditID' as id from findings`)).toEqual([
      { kind: 'audit_id_reused', id: first.auditID },
    ]);
  });

  it('reads v1beta1 of the audit API', async () => {
    const { apiVersion: _v, kind: _k, ...event } = new Cluster().deployment('create', 'beta', { image: 'a' });
    const list = JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1beta1', items: [event] });
    expect(await receiver.post(list)).toMatchObject({ status: 200, body: { stored: 1 } });
    expect(
      await rows(
        `select e.api_version, c.summary from events e join changes c on c.change_id = e.request_id where c.name = 'beta'`,
      ),
    ).toEqual([{ api_version: 'audit.k8s.io/v1beta1', summary: 'created (a, 1 replica)' }]);
  });

  it('reads v1alpha1 of the audit API', async () => {
    const cluster = new Cluster();
    const {
      requestReceivedTimestamp: _r,
      stageTimestamp: _s,
      ...event
    } = cluster.deployment('create', 'older', { image: 'a' });
    const old = { ...event, apiVersion: undefined, kind: undefined, timestamp: '2026-03-02T09:00:00Z' };
    const list = JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1alpha1', items: [old] });
    expect(await receiver.post(list)).toMatchObject({ status: 200, body: { stored: 1 } });
    expect(
      await rows(
        `select e.api_version from events e join changes c on c.change_id = e.request_id where c.name = 'older'`,
      ),
    ).toEqual([{ api_version: 'audit.k8s.io/v1alpha1' }]);
  });
});
