import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluateSamples } from '../../jobs/completeness/evaluate-samples.js';
import { appendSample } from '../../store/completeness/samples.js';
import { createPool } from '../../store/database.js';
import { allItems, ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

let api: RunningApi;
const START = Date.parse('2026-03-02T09:00:00Z');
const EVENTS = 40;

/** An event in the middle of each minute, and the apiserver's counters at the end of each: as of minute 25, one more. */
beforeAll(async () => {
  api = await startApi();
  const cluster = new Cluster();
  const at = (minute: number) => ({
    requestReceivedTimestamp: new Date(START + minute * 60_000 + 30_000).toISOString(),
    stageTimestamp: new Date(START + minute * 60_000 + 30_005).toISOString(),
  });
  const events = Array.from({ length: EVENTS }, (_, i) =>
    cluster.deployment(i === 0 ? 'create' : 'patch', 'web', { image: `web:${i}` }, at(i)),
  );
  await api.post(eventList(events));
});
afterAll(() => api.stop());

async function addSamples(): Promise<void> {
  const pool = createPool({ connectionString: api.databaseURL, poolSize: 1, applicationName: 'test' });
  const client = await pool.connect();
  // The running system evaluates them too: it must see all of them or none.
  await client.query('begin');
  for (let minute = -1; minute <= EVENTS; minute++) {
    const readSince = (START + minute * 60_000) * 1000;
    await appendSample(client, 1, 1, {
      sampledAt: new Date(readSince / 1000),
      readSince,
      readUntil: readSince + 1_000_000,
      auditID: `sample-${minute}`,
      answeredMs: 5,
      processStartedAt: 1_700_000_000_000_000,
      events: 100 + Math.max(0, minute) + (minute > 25 ? 1 : 0),
      errors: {},
      rejected: 0,
    });
  }
  await client.query('commit');
  await evaluateSamples(client, 1, new Date(START + 3 * 3_600_000));
  client.release();
  await pool.end();
}

const range = (since: string, until: string) => `since=2026-03-02T${since}:00Z&until=2026-03-02T${until}:00Z`;
const flags = (since: string, until: string) => [
  '--since',
  `2026-03-02T${since}:00Z`,
  '--until',
  `2026-03-02T${until}:00Z`,
];

describe('completeness', () => {
  it('is unknown where nothing tells, which a list says only when asked', async () => {
    const { json } = await ask(api, `/v1/changes?${range('09:00', '09:20')}`);
    expect(json.completeness).toEqual({ verdict: 'unknown', gaps: 0 });
    expect((await api.cli(flags('09:00', '09:20'))).stderr).toBe('');
    expect((await api.cli([...flags('09:00', '09:20'), '-v'])).stderr).toBe(
      'completeness unknown (whochanged completeness)\n',
    );
    const steps = await ask(api, `/v1/completeness?${range('09:00', '09:20')}&step=10m`);
    expect(steps.json).toMatchObject({
      verdict: 'unknown',
      items: [
        {
          source: 'default',
          verdict: 'unknown',
          reasons: ['no_counters'],
          expected: null,
          missing: null,
          gaps: 0,
        },
        { since: '2026-03-02T09:10:00.000000Z', verdict: 'unknown' },
      ],
    });
  });

  it('is proven by the counters, of the whole time only', async () => {
    await addSamples();
    const changes = await ask(api, `/v1/changes?${range('09:00', '09:20')}&limit=2`);
    expect(changes.json.completeness).toEqual({ verdict: 'complete', gaps: 0 });
    expect((await api.cli([...flags('09:00', '09:20'), '-v', '--limit', '1'])).stderr).toContain(
      'complete: everything that was told is here\n',
    );
    const steps = await ask(api, `/v1/completeness?${range('09:00', '09:20')}&step=10m`);
    expect(steps.json).toMatchObject({
      verdict: 'complete',
      items: [
        { verdict: 'complete', reasons: [], expected: 10, received: 10, missing: 0, missingAtMost: 0 },
        { verdict: 'complete', expected: 10, received: 10 },
      ],
    });
    expect(steps.json.items[0].evidence[0]).toMatchObject({ kind: 'counters' });
    // From before the first sample on, nothing is proven; nor is it to the end of what a write may take.
    const earlier = await ask(api, `/v1/changes?${range('08:00', '09:20')}&limit=1`);
    expect(earlier.json.completeness).toEqual({ verdict: 'unknown', gaps: 0 });
    const open = await ask(api, `/v1/changes?${range('09:30', '12:00')}&limit=1`);
    expect(open.json.completeness).toEqual({
      verdict: 'unknown',
      gaps: 0,
      completeUntil: '2026-03-02T09:40:00.000000Z',
    });
    const unbounded = await ask(api, '/v1/changes?until=2026-03-02T09:20:00Z&limit=1');
    expect(unbounded.json.completeness).toEqual({ verdict: 'unknown', gaps: 0 });
  });

  it('is denied where something is missing, and everybody is told', async () => {
    const { json } = await ask(api, `/v1/changes?${range('09:00', '09:39')}&limit=1`);
    expect(json.completeness).toMatchObject({ verdict: 'incomplete', gaps: 1 });
    expect((await api.cli([...flags('09:00', '09:39'), '--limit', '1'])).stderr).toContain(
      'not complete: 1 gap (whochanged gaps --since 2026-03-02T09:00:00Z --until 2026-03-02T09:39:00Z)\n',
    );
    const steps = await ask(api, `/v1/completeness?${range('09:00', '09:30')}&step=15m`);
    expect(steps.json).toMatchObject({
      verdict: 'incomplete',
      items: [
        { verdict: 'complete' },
        {
          verdict: 'incomplete',
          reasons: ['gaps'],
          expected: 16,
          received: 15,
          missing: 1,
          missingAtMost: 1,
          gaps: 1,
        },
      ],
    });
    const gaps = await ask(api, '/v1/gaps?state=open');
    expect(gaps.json.items).toMatchObject([
      { cause: 'events_missing', source: 'default', missing: 1, expected: 2, received: 1, state: 'open' },
    ]);
    const cli = await api.cli(['gaps', '--utc']);
    expect(cli.stdout).toMatch(
      /^\d+ +default +events_missing +2026-03-02 09:25:00 +2026-03-02 09:26:01 +1 +open +missingAtMost 1$/m,
    );
    const table = await api.cli([
      'completeness',
      '--utc',
      ...flags('09:00', '09:30'),
      '--step',
      '15m',
      '--exit-code',
    ]);
    expect(table.code).toBe(1);
    expect(table.stdout).toMatch(/^default +2026-03-02 09:00:00 +09:15:00 +complete +15 +15 +0 *$/m);
    expect(table.stdout).toMatch(/^default +2026-03-02 09:15:00 +09:30:00 +incomplete +16 +15 +1 +1 +gaps/m);
    expect(table.stderr).toContain('all of it: incomplete\n');
    expect((await api.cli(['source', 'list', '-o', 'json'])).stdout).toContain('"openGaps": 1');
  });

  it('is of all sources that a cluster had then: one that proves nothing leaves it open', async () => {
    await api.query(`insert into sources (cluster_id, name, created_at) values (1, 'second', '2026-01-01')`);
    const { json } = await ask(api, `/v1/changes?${range('09:00', '09:20')}&limit=1`);
    expect(json.completeness).toEqual({ verdict: 'unknown', gaps: 0 });
    await api.query(`update sources set disabled_at = '2026-03-02T08:00:00Z' where name = 'second'`);
    const again = await ask(api, `/v1/changes?${range('09:00', '09:20')}&limit=1`);
    expect(again.json.completeness).toMatchObject({ verdict: 'complete' });
  });

  it('has gaps that can be paged through and filtered', async () => {
    await api.query(
      `insert into gaps (cluster_id, source_id, cause, subject, since, until, evidence, state, closed_at, closed_reason)
       select 1, 1, 'canary_missing', 'test ' || n, '2026-01-01T00:00Z', '2026-01-01T01:00Z', '{}', 'closed', now(), 'late_arrival'
         from generate_series(1, 7) n`,
    );
    expect(await allItems(api, '/v1/gaps?cause=canary_missing', 3)).toHaveLength(7);
    expect(await allItems(api, '/v1/gaps?state=closed&source=default', 50)).toHaveLength(7);
    expect(await allItems(api, '/v1/gaps?since=2026-01-01T01:00:00Z&cause=canary_missing', 50)).toEqual([]);
    const wrong = await ask(api, '/v1/completeness?since=7d&step=1s');
    expect(wrong.json).toMatchObject({ status: 400, detail: 'step: that makes more than 5000 steps' });
    expect((await ask(api, '/v1/completeness?step=soon')).json.detail).toBe(
      'step: "soon" is no length of time',
    );
  });
});

describe('a source’s probes', () => {
  it('are an admin’s to set, and hold references only', async () => {
    const { json: operator } = await ask(api, '/v1/tokens', {
      method: 'POST',
      body: { name: 'operator', role: 'operator' },
    });
    const body = { metrics: { url: 'https://10.0.0.5:6443/metrics' } };
    const path = '/v1/sources/default/probes';
    expect((await ask(api, path, { method: 'PUT', body, token: operator.token })).status).toBe(403);
    const set = await api.cli([
      'source',
      'set',
      'default',
      '--metrics-url',
      'https://10.0.0.5:6443/metrics',
      '--metrics-token-file',
      '/nowhere/token',
      '--canary-kubeconfig',
      '/nowhere/kubeconfig',
    ]);
    expect(set).toMatchObject({
      code: 0,
      stdout: 'default: metrics https://10.0.0.5:6443/metrics, canaries in kube-system\n',
    });
    const { json } = await ask(api, '/v1/sources');
    expect(json.items.find((item: { name: string }) => item.name === 'default')).toMatchObject({
      metrics: { url: 'https://10.0.0.5:6443/metrics', token: 'file:/nowhere/token', error: null },
      canary: { kubeconfig: 'file:/nowhere/kubeconfig', namespace: 'kube-system' },
    });
    await api.cli(['source', 'set', 'default', '--no-metrics', '--no-canary']);
    const [first] = (await ask(api, '/v1/sources')).json.items;
    expect(first).not.toHaveProperty('metrics');
    expect(first).not.toHaveProperty('canary');
  });

  it.each([
    [
      { metrics: { url: 'https://me:secret@10.0.0.5/metrics' } },
      'metrics.url: expected an http(s) URL without a user in it',
    ],
    [
      { metrics: { url: 'http://10.0.0.5/metrics', token: 'file:/t' } },
      'metrics.url: a credential goes over https only',
    ],
    [
      { metrics: { url: 'http://127.evil.example/metrics', token: 'file:/t' } },
      'metrics.url: a credential goes over https only',
    ],
    [{ metrics: { url: 'https://10.0.0.5/metrics', cert: 'file:/t' } }, 'metrics: cert and key go together'],
  ])('are refused where a secret could leak or nothing could come of it: %j', async (body, detail) => {
    const answer = await ask(api, '/v1/sources/default/probes', { method: 'PUT', body });
    expect([answer.status, answer.json.detail]).toEqual([400, detail]);
    expect(answer.text).not.toContain('secret');
  });

  it('take no secret in the place of a reference', async () => {
    const body = { metrics: { url: 'https://10.0.0.5/metrics', token: 'eyJhbGciOi' } };
    const answer = await ask(api, '/v1/sources/default/probes', { method: 'PUT', body });
    expect(answer.status).toBe(400);
    expect(answer.text).not.toContain('eyJhbGciOi');
    const { code, stderr } = await api.cli(['source', 'set', 'default', '--metrics-token-file', 'x']);
    expect([code, stderr]).toEqual([
      2,
      'whochanged: a credential for metrics, and no URL\ngive --metrics-url with it\n',
    ]);
  });
});
