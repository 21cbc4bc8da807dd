import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findControl } from '../../core/report/controls.js';
import { readDeliveries } from '../../core/report/delivery.js';
import { deliverReportsJob } from '../../jobs/deliver-reports.js';
import { createReportMetrics } from '../../jobs/report-metrics.js';
import { S3Archive } from '../../store/archive/files.js';
import { SegmentReader } from '../../store/archive/segment-files.js';
import { findSegments } from '../../store/archive/segments.js';
import { createKysely } from '../../store/database.js';
import { makeReport } from '../../store/queries/report.js';
import { S3Clients } from '../../store/s3-client.js';
import { parseS3Place, type S3Place } from '../../store/s3-place.js';
import { readTrustedKeys } from '../../verify/keys.js';
import { verifyProof } from '../../verify/proof.js';
import { type Answer, allItems, ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApi } from '../harness/running-api.js';
import { startS3, type TestS3 } from '../harness/s3.js';
import { type S3Proxy, startS3Proxy } from '../harness/s3-proxy.js';

const SINCE = '?since=2026-03-02T00:00:00Z&until=2026-03-03T00:00:00Z';
const WEB = '/v1/objects/default/apps/deployments/shop/web';

let place: S3Place;
let s3: TestS3;
let proxy: S3Proxy;
let api: RunningApi;
/** Answers from before anything was archived. */
const before: Record<string, unknown> = {};
let first: string;
let firstEvent: string;

async function run(job: string): Promise<Answer> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const answer = await ask(api, `/v1/jobs/${job}/run`, { method: 'POST' });
    if (answer.status !== 409) return answer;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`${job} did not end`);
}

/** Questions are over, and what they had loaded goes again. */
async function archive(): Promise<void> {
  await api.query('update archive_segments set asked_until = null');
  expect((await run('retention')).json.error).toBeUndefined();
}

const hot = async () =>
  Number(
    ((await api.query('select count(*) from changes')) as never as { rows: [{ count: string }] }).rows[0]
      .count,
  );

const QUESTIONS = () => [
  `/v1/changes${SINCE}`,
  `/v1/changes${SINCE}&actor=alice@example.com&limit=2`,
  `/v1/changes/${first}`,
  `/v1/events/${firstEvent}`,
  `/v1/events${SINCE}`,
  `${WEB}/history`,
  `${WEB}/state?at=2026-03-02T09:00:05Z`,
  `${WEB}/compare?from=2026-03-02T09:00:02Z&to=2026-03-02T09:00:05Z`,
  `/v1/changes.ndjson${SINCE}`,
];

/** An answer without what it says of the archive, and of what is not its subject. */
function told({ json, text }: Answer): unknown {
  if (json === undefined) return text;
  const { archived, completeness, ...rest } = json;
  return rest;
}

beforeAll(async () => {
  s3 = await startS3();
  proxy = await startS3Proxy(s3.endpoint);
  const bucket = await s3.createBucket();
  const url = `s3://${bucket}/a/?endpoint=${proxy.endpoint}&pathStyle=true`;
  place = parseS3Place(url);
  api = await startApi({
    WHOCHANGED_ARCHIVE_URL: url,
    WHOCHANGED_RETENTION: 'all=30d',
  });
  const cluster = new Cluster();
  const events = [1, 2, 3, 4].map((n) =>
    cluster.deployment(n === 1 ? 'create' : 'update', 'web', { image: `web:${n}`, replicas: n }),
  );
  const foreign = [1, 2].map((n) =>
    cluster.write(
      n === 1 ? 'create' : 'update',
      { resource: 'configmaps', namespace: 'vault', name: 'vault-settings' },
      { kind: 'ConfigMap', data: { mode: `vault-${n}` } },
    ),
  );
  await api.post(eventList([...events, ...foreign]));
  // All that the jobs will ever say of these is said before anything is compared.
  for (const job of ['attribute', 'links', 'verdicts', 'checkpoint']) await run(job);
  const all = await allItems(api, '/v1/changes?order=asc', 100);
  first = all[0].id;
  firstEvent = (await ask(api, `/v1/changes/${first}`)).json.events[0].eventID;
  for (const question of QUESTIONS()) before[question] = told(await ask(api, question));
  // A run on start may have passed over this time before anything was there: what came late waits for the first of a month.
  await run('retention');
  await api.query('delete from retention_progress');
  await archive();
}, 120_000);
afterAll(async () => {
  await api.stop();
  await proxy.stop();
  await s3.stop();
});

describe('an archived period', () => {
  it('is answered as ever, and said to be', async () => {
    // The newest versions of two objects are in force.
    expect(await hot()).toBe(2);
    for (const question of QUESTIONS()) {
      await archive();
      const answer = await ask(api, question);
      expect([question, answer.status, answer.headers.get('whochanged-archived')]).toEqual([
        question,
        200,
        'read',
      ]);
      expect([question, told(answer)]).toEqual([question, before[question]]);
      if (answer.json) expect(answer.json.archived).toEqual(answer.json.items ? { read: true } : true);
    }
  });

  it('is told of where a list has no beginning, and is not read for it', async () => {
    await archive();
    const { json, headers } = await ask(api, '/v1/changes');
    expect(json.items).toHaveLength(2);
    expect(json.archived).toEqual({ read: false, before: expect.stringMatching(/^2026-03-02T09:00:/) });
    expect(headers.get('whochanged-archived')).toBe(`before ${json.archived.before}`);
    expect(await hot()).toBe(2);
    // A page that ends before it is whole.
    expect((await ask(api, '/v1/changes?since=2026-10-01T00:00:00Z')).json.archived).toBeUndefined();
    const listed = await api.cli([
      'changes',
      '--since',
      '2026-03-02T00:00:00Z',
      '--until',
      '2026-03-03T00:00:00Z',
    ]);
    expect(listed.stderr).toContain('events of the archive were read for this');
    expect((await api.cli(['changes'])).code).toBe(0);
  });

  it('shows a tenant its own alone', async () => {
    const body = { name: 'team', role: 'reader', clusters: ['default'], namespaces: ['shop'] };
    const { token } = (await ask(api, '/v1/tokens', { method: 'POST', body })).json;
    await archive();
    const { json, text } = await ask(api, `/v1/changes${SINCE}`, { token });
    expect(json.items).toHaveLength(4);
    expect(text).not.toContain('vault');
  });

  it('loses a payload that is erased lawfully, everywhere, and every proof holds', async () => {
    const second = (await ask(api, `/v1/changes${SINCE}&order=asc`)).json.items[1];
    expect(second.summary).toContain('web:2');
    const { eventID } = (await ask(api, `/v1/changes/${second.id}`)).json.events[0];
    const erased = await api.cli(['erase', second.id, '--reason', 'request-17', '-o', 'json']);
    expect(JSON.parse(erased.stdout)).toMatchObject({ eventID, changes: 2, segments: 1, left: [] });
    const event = await ask(api, `/v1/events/${eventID}`);
    expect(event.json).toMatchObject({
      digestVerified: true,
      erased: [
        { part: 'request', erasedAt: expect.any(String) },
        { part: 'response', erasedAt: expect.any(String) },
      ],
    });
    expect(event.text).not.toContain('web:2');
    expect((await ask(api, `/v1/changes${SINCE}`)).text).not.toContain('web:2');
    const keys = (await ask(api, '/v1/log/keys')).json.items.map(
      (key: { verifierKey: string }) => key.verifierKey,
    );
    const [keyFile, proof, record] = ['log.keys', 'x.tlog-proof', 'x.json'].map((name) =>
      join(api.folder, name),
    );
    await writeFile(keyFile!, keys.join('\n'));
    await writeFile(record!, JSON.stringify(event.json.raw));
    await run('checkpoint');
    expect((await api.cli(['proof', eventID, '--file', proof!])).code).toBe(0);
    expect(await verifyProof(proof!, await readTrustedKeys(keyFile!), record)).toMatchObject({ ok: true });

    await archive();
    expect(await hot()).toBe(2);
    const clients = new S3Clients();
    const reader = new S3Archive(clients, place);
    let text = '';
    for (const segment of await findSegments(api.pool, 'true', [])) {
      const files = new SegmentReader(reader, segment);
      for await (const rows of files.changes()) text += JSON.stringify(rows);
      for await (const rows of files.bodies()) text += JSON.stringify(rows);
    }
    await clients.stop();
    expect(text).toContain('web:1');
    expect(text).not.toContain('web:2');
    const again = await ask(api, `/v1/changes${SINCE}`);
    expect(again.json.items).toHaveLength(6);
    expect(again.text).not.toContain('web:2');
  });

  it('is proven by the archive: the log holds, and a removed event still is one', async () => {
    await archive();
    const verify = () => api.cli(['verify-log']);
    expect((await verify()).stdout).toMatch(/2 events, .* 4 archived events, .*: it holds\n$/);
    await api.query('delete from event_rows where seq = (select min(seq) from events)');
    expect(await verify()).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/removed: event \d+ of default.*neither the table nor the archive has/),
    });
  });

  it('that can\u2019t be read is an error, never an empty answer', async () => {
    await archive();
    proxy.treat(({ method }) => (method === 'GET' ? { status: 403, code: 'AccessDenied' } : undefined));
    const { status, json } = await ask(api, `/v1/changes${SINCE}`);
    expect([status, json.code]).toEqual([503, 'archive_unavailable']);
    expect(JSON.stringify(json)).not.toContain('s3://');
    proxy.treat(() => undefined);
    expect((await ask(api, `/v1/changes${SINCE}`)).json.items).toHaveLength(6);
  });
});

describe('a legal hold', () => {
  it('is made and released by admins alone, and both are recorded', async () => {
    const { token } = (
      await ask(api, '/v1/tokens', { method: 'POST', body: { name: 'op', role: 'operator' } })
    ).json;
    const refused = await ask(api, '/v1/holds', {
      method: 'POST',
      token,
      body: { reason: 'case 1', namespace: 'shop' },
    });
    expect(refused.status).toBe(403);
    const empty = await ask(api, '/v1/holds', { method: 'POST', body: { reason: 'case 1' } });
    expect([empty.status, empty.json.detail]).toEqual([400, 'nothing is named that is to be held']);
    const made = await api.cli([
      'hold',
      'add',
      '-n',
      'vault',
      '--resource',
      'cm',
      '--reason',
      'case 4711',
      '-o',
      'json',
    ]);
    expect(JSON.parse(made.stdout)).toMatchObject({
      namespace: 'vault',
      resource: 'configmaps',
      reason: 'case 4711',
    });
    const { id } = JSON.parse(made.stdout);
    const settings = (await ask(api, `/v1/changes${SINCE}&namespace=vault`)).json.items[0];
    const erasure = { method: 'POST', body: { event: settings.id, reason: 'request-18' } };
    expect((await ask(api, '/v1/erasures', erasure)).json.detail).toBe('a legal hold covers it');
    await ask(api, `/v1/changes${SINCE}`);
    await archive();
    expect(
      ((await api.query('select distinct namespace from changes order by 1')) as never as { rows: unknown })
        .rows,
    ).toEqual([{ namespace: 'shop' }, { namespace: 'vault' }]);
    expect(
      Number(
        (
          (await api.query(`select count(*) from changes where namespace = 'vault'`)) as never as {
            rows: [{ count: string }];
          }
        ).rows[0].count,
      ),
    ).toBe(2);
    expect((await api.cli(['hold', 'list'])).stdout).toContain('namespace vault, configmaps');
    expect((await api.cli(['hold', 'release', String(id), '--reason', 'closed'])).stdout).toBe(
      `hold ${id} is released\n`,
    );
    expect((await ask(api, '/v1/holds')).json.items).toEqual([]);
    expect((await ask(api, '/v1/holds?released=true')).json.items).toMatchObject([
      { id, releaseReason: 'closed' },
    ]);
    const events = (await ask(api, '/v1/access-events?limit=20')).json.items.map(
      (item: { method: string; target: string }) => `${item.method} ${item.target}`,
    );
    expect(events).toEqual(expect.arrayContaining([`POST /v1/holds`, `POST /v1/holds/${id}/release`]));
    expect((await api.cli(['retention'])).stdout).toMatch(/^policy 1, since .*: change=30d,.*\n/);
  });

  it("keeps an archived body from being erased as another event's, whose body is the same", async () => {
    const cluster = new Cluster();
    const same = { kind: 'ConfigMap', data: { mode: 'agreed' } };
    const patch = (username: string, mode: string) =>
      cluster.write(
        'patch',
        { resource: 'configmaps', namespace: 'shop', name: 'agreed' },
        { kind: 'ConfigMap', data: { mode, by: username } },
        { requestObject: same, user: { username } },
      );
    await api.post(eventList([patch('mallory@example.com', 'agreed'), patch('alice@example.com', 'agreed')]));
    await api.query('delete from retention_progress');
    await archive();
    // The newest is in force, and stays.
    const { json } = await ask(api, '/v1/changes?name=agreed');
    expect(json.items.map((item: { actor: { username: string } }) => item.actor.username)).toEqual([
      'alice@example.com',
    ]);
    const repo = { name: 'shop', url: 'https://git.example.com/shop.git' };
    expect((await ask(api, '/v1/repos', { method: 'POST', body: repo })).status).toBe(201);
    const hold = { reason: 'case 4712', username: 'mallory@example.com' };
    const { id } = (await ask(api, '/v1/holds', { method: 'POST', body: hold })).json;
    const body = { event: json.items[0].id, parts: ['request'], reason: 'request-19' };
    const refused = await ask(api, '/v1/erasures', { method: 'POST', body });
    expect([refused.status, refused.json.detail]).toEqual([409, 'a legal hold covers it']);
    const forgotten = await ask(api, '/v1/repos/shop', { method: 'DELETE' });
    expect([forgotten.status, forgotten.json.code]).toEqual([409, 'conflict']);
    const released = { method: 'POST', body: { reason: 'closed' } };
    expect((await ask(api, `/v1/holds/${id}/release`, released)).status).toBe(200);
    const erased = await ask(api, '/v1/erasures', { method: 'POST', body });
    expect([erased.status, erased.json.segments]).toEqual([200, 1]);
    expect((await ask(api, '/v1/repos/shop', { method: 'DELETE' })).status).toBe(204);
  });
});

describe('a report on how records are kept', () => {
  const QUARTER = 'since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z';

  it('tells the policy, the archive, holds and erasures, and erasures first', async () => {
    const { json } = await ask(api, `/v1/reports/nist-au-11?${QUARTER}`);
    const counted = Object.fromEntries(
      json.counts.map(({ what, rows }: { what: string; rows: number }) => [what, rows]),
    );
    const erasures = (await ask(api, `/v1/erasures?${QUARTER}`)).json.items;
    const holds = (await ask(api, '/v1/holds?released=true')).json.items;
    const { segments } = (await ask(api, '/v1/retention')).json;
    expect(counted).toEqual({
      'policy followed': 1,
      'archived and read back': segments.reduce(
        (sum: number, { segments: count }: { segments: number }) => sum + count,
        0,
      ),
      'legal hold': holds.length,
      'payload erased': erasures.length,
    });
    expect(erasures.length).toBeGreaterThan(1);
    expect(json.exceptions.map(({ object }: { object: string }) => object)).toEqual(
      erasures.map(({ eventID }: { eventID: string }) => eventID).reverse(),
    );
    const policy = json.sample.rows.find(({ id }: { id: string }) => id === 'policy-1');
    expect(policy.summary).toContain('leaves the database for the archive: change=30d');
    expect(
      (await ask(api, '/v1/reports/nist-au-11?since=1990-01-01T00:00:00Z&until=1991-01-01T00:00:00Z')).json
        .rows,
    ).toBe(0);
    for (const format of ['ocsf', 'proofs'])
      expect((await ask(api, `/v1/reports/pci-10.5?${QUARTER}&format=${format}`)).status).toBe(400);
  });

  it('tells the checkpoints that protect them, and copies that failed', async () => {
    const { items } = (await ask(api, '/v1/log/checkpoints?limit=1000')).json;
    await api.query(`update log_checkpoints set copy_error = 'AccessDenied'
                      where signed_at = (select max(signed_at) from log_checkpoints)`);
    const { json } = await ask(api, `/v1/reports/nist-au-9?${QUARTER}`);
    const erasures = (await ask(api, `/v1/erasures?${QUARTER}`)).json.items;
    expect(json.counts).toContainEqual({ what: 'checkpoint signed', rows: items.length });
    expect([json.rows, json.exceptionRows]).toEqual([items.length + erasures.length, 1 + erasures.length]);
    expect(json.exceptions.map(({ summary }: { summary: string }) => summary)).toContainEqual(
      expect.stringMatching(/^checkpoint signed: over \d+ records, copy failed: AccessDenied$/),
    );
    expect((await ask(api, `/v1/reports/nist-au-9?${QUARTER}&cluster=default`)).status).toBe(400);
  });

  it('is had page by page', async () => {
    const all = (await ask(api, '/v1/erasures')).json.items;
    const first = (await ask(api, '/v1/erasures?limit=1')).json;
    const second = (await ask(api, `/v1/erasures?limit=1&cursor=${first.next}`)).json;
    expect([...first.items, ...second.items]).toEqual(all.slice(0, 2));
    expect(all[0]).toMatchObject({ cluster: 'default', reason: 'request-19', erasedBy: expect.any(String) });
    expect((await ask(api, '/v1/erasures?until=2001-01-01T00:00:00Z')).json).toEqual({
      items: [],
      next: null,
    });
  });
});

describe('a report on an archived period', () => {
  const control = findControl('pci-10.2')!;
  const [since, until] = ['2026-01-01T00:00:00.000Z', '2026-04-01T00:00:00.000Z'];
  const clients = new S3Clients();
  afterAll(() => clients.stop());

  const asked = () => ask(api, `/v1/reports/pci-10.2?since=${since}&until=${until}`);
  let hotReport: Answer;

  beforeAll(async () => {
    const cluster = new Cluster();
    const ref = { resource: 'secrets', namespace: 'shop', name: 'api', apiVersion: 'v1' };
    const requestURI = '/api/v1/namespaces/shop/secrets/api';
    await api.post(
      eventList([cluster.event({ verb: 'get', objectRef: ref, requestURI, level: 'Metadata' })]),
    );
    await run('attribute');
    hotReport = await asked();
    await api.query('delete from retention_progress');
  });

  it('is not called whole while its rows lie in the archive', async () => {
    await archive();
    const store = { db: createKysely(api.pool), pool: api.pool };
    const question = { control, clusters: [], environments: [], since, until };
    const made = await makeReport(store, question);
    expect(made).toMatchObject({ rows: 0, completeness: { verdict: 'incomplete' } });
    expect(made.completeness.unread).toBeGreaterThan(0);
  });

  it('is answered from the archive, whatever its rows are of', async () => {
    await archive();
    const { json, headers } = await asked();
    expect([json.rows, headers.get('whochanged-archived')]).toEqual([1, 'read']);
    expect({ ...json, generatedAt: '' }).toEqual({ ...hotReport.json, generatedAt: '' });
  });

  it('is told of where rules are tried on it', async () => {
    await archive();
    const rules = join(api.folder, 'rules.yaml');
    await writeFile(rules, 'rules: [{ name: images, title: An image, match: { change.kind: image } }]\n');
    const tried = await api.cli(['alert', 'test', rules, '--since', since, '--until', until]);
    expect(tried).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^images: 0 alerts/),
      stderr: expect.stringMatching(
        /not looked at: events before 2026-03-02T.* archive \(.*change.*secret_read/,
      ),
    });
  });

  it('is delivered from the archive, and not at all where that is too much', async () => {
    const to = `s3://${place.bucket}/reports/?endpoint=${proxy.endpoint}&pathStyle=true`;
    const read = readDeliveries({
      deliveries: [{ name: 'reads', control: 'pci-10.2', every: 'quarter', formats: ['json'], to }],
    });
    const { deliveries } = read as Extract<typeof read, { deliveries: unknown }>;
    const reader = new S3Archive(clients, place);
    const metrics = createReportMetrics(new Registry());
    const deliver = async (loadMaxEvents: number, at: string) => {
      await archive();
      const reached = { reader, loadMaxEvents, loadedSeconds: 60 };
      const credentials = { folder: '/', environment: {} };
      const parts = { deliveries, s3: clients, credentials, version: '1', metrics };
      const client = await api.pool.connect();
      const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
      const context = { client, log, now: () => new Date(at), signal: new AbortController().signal };
      const { rows } = await deliverReportsJob({ ...parts, archive: reached }).runOnce(context);
      client.release();
      return rows;
    };
    expect(await deliver(0, '2026-04-02T00:00:00Z')).toBe(0);
    const { rows } = await api.pool.query('select last_error from report_deliveries');
    expect(rows[0].last_error).toMatch(/^the period reaches \d+ archived events, and 0 may be read/);
    expect(await deliver(100, '2026-04-02T01:00:00Z')).toBe(1);
    const Key = 'reports/reads/2026-01-01_2026-04-01/pci-10.2.json';
    const { Body } = await s3.client.send(new GetObjectCommand({ Bucket: place.bucket, Key }));
    const report = JSON.parse(await Body!.transformToString());
    expect([report.rows, report.completeness.unread]).toEqual([1, undefined]);
  });
});
