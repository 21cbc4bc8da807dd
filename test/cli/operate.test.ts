import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

const SECRET = 'synthetic-operate-7d1f';

let api: RunningApi;
beforeAll(async () => {
  api = await startApi();
  const cluster = new Cluster();
  const good = cluster.deployment('create', 'web', { image: 'web:1' });
  // No verb: it can be replayed once there is a version that takes it. No JSON object: only its text was kept.
  const { verb: _, ...bad } = cluster.event({
    requestURI: `/api/v1/namespaces/shop/pods?token=${SECRET}`,
    objectRef: { resource: 'pods', namespace: 'shop' },
  });
  expect(await api.post(eventList([good, bad, 'no event']))).toMatchObject({ stored: 1, quarantined: 2 });
});
afterAll(() => api.stop());

interface Quarantined {
  id: string;
  state: string;
  reason: string;
  replayable: boolean;
}

async function quarantined(...args: string[]): Promise<Quarantined[]> {
  const { stdout } = await api.cli(['quarantine', 'list', '-o', 'json', ...args]);
  return (JSON.parse(stdout) as { items: Quarantined[] }).items;
}

describe('quarantine', () => {
  it('lists what was rejected, with the reason', async () => {
    const items = await quarantined();
    expect(items).toHaveLength(2);
    const { stdout } = await api.cli(['quarantine']);
    expect(stdout).toMatch(/^ID +WHEN +SOURCE +STATE +SEEN +REASON +DETAIL$/m);
    for (const item of items)
      expect(stdout).toMatch(new RegExp(`^${item.id} +.* default +open +1 +${item.reason} `, 'm'));
  });

  it('shows one, redacted', async () => {
    const { id } = (await quarantined()).find((item) => item.replayable)!;
    const { code, stdout } = await api.cli(['quarantine', 'show', id]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^Received: .* from default, seen 1 times\nReason: {3}\w+: .*verb.*\nState: {4}open\n\n\{/,
    );
    expect(stdout).toContain('"resource":"pods"');
    expect(stdout).not.toContain(SECRET);
  });

  it('replays one, and says so when it is still not accepted, or never can be', async () => {
    const items = await quarantined();
    const again = await api.cli(['quarantine', 'replay', items.find((item) => item.replayable)!.id]);
    expect(again).toMatchObject({ code: 1, stdout: '' });
    expect(again.stderr).toMatch(/^whochanged: it is still not accepted: .*verb/);
    const lost = items.find((item) => !item.replayable)!;
    const never = await api.cli(['quarantine', 'replay', lost.id]);
    expect(never).toMatchObject({ code: 2, stdout: '' });
    expect(never.stderr).toMatch(/^whochanged: only its masked text was kept, .*\nfix the sender/);
  });

  it('dismisses one, which leaves the open ones', async () => {
    const [first] = await quarantined();
    expect((await api.cli(['quarantine', 'dismiss', first!.id])).stdout).toBe(`${first!.id} is dismissed\n`);
    const open = await quarantined('--state', 'open');
    expect(open.map((item) => item.id)).not.toContain(first!.id);
    expect((await quarantined('--state', 'dismissed')).map((item) => item.id)).toEqual([first!.id]);
    expect((await api.cli(['quarantine', 'show', '999999'])).code).toBe(4);
  });
});

describe.concurrent('token', () => {
  it('is shown once, opens the API, and is refused once revoked', async ({ expect }) => {
    const { stdout } = await api.cli(['token', 'create', 'alice', '--expires-at', '2099-01-01T00:00:00Z']);
    expect(stdout).toMatch(/^wc_\S{20,}\n$/);
    const asAlice = { WHOCHANGED_TOKEN: stdout.trim() };
    expect((await api.cli(['deploy/web', '--since', '1000w'], asAlice)).code).toBe(0);
    const list = await api.cli(['token', 'list', '--utc']);
    expect(list.stdout).toMatch(/^\d+ +alice +reader +\S+ \S+ +\S+ \S+ +until 2099-01-01 00:00:00$/m);
    expect(list.stdout).toMatch(/^\d+ +first admin +admin +\S+ \S+ +\S+ \S+ +yes$/m);
    expect(list.stdout).not.toContain(stdout.trim());
    const id = /^(\d+) +alice/m.exec(list.stdout)![1]!;
    expect(await api.cli(['token', 'revoke', id])).toMatchObject({
      code: 0,
      stdout: `token ${id} is revoked\n`,
    });
    await expect
      .poll(async () => (await api.cli(['findings'], asAlice)).code, { timeout: 10_000, interval: 1000 })
      .toBe(3);
    expect((await api.cli(['token', 'list'])).stdout).toMatch(/^\d+ +alice .* revoked$/m);
  });

  it('that has expired says so', async ({ expect }) => {
    const { stdout } = await api.cli([
      'token',
      'create',
      'old',
      '--role',
      'operator',
      '--expires-at',
      '2020-01-01',
    ]);
    expect((await api.cli(['findings'], { WHOCHANGED_TOKEN: stdout.trim() })).code).toBe(3);
    expect((await api.cli(['token', 'list'])).stdout).toMatch(/^\d+ +old +operator .* expired$/m);
  });
});

describe.concurrent('the state of the server and of the evidence', () => {
  it('is told by status, events, event and findings', async ({ expect }) => {
    const status = await api.cli(['status']);
    expect(status.stdout).toMatch(
      /^whochanged \d+\.\d+\.\d+ at http:\S+, roles ingest, api, jobs, spool 0 bytes\nproof log: \d+ leaves, .*\n\nJOB /,
    );
    const events = await api.cli(['events', '--utc'], { COLUMNS: '160' });
    expect(events.stdout).toMatch(
      /^2026-03-02 09:00:01 +ResponseComplete +change +alice@example\.com +create +201 .* apps\/deployments shop\/web$/m,
    );
    const [id] = (await api.cli(['events', '-o', 'name'])).stdout.split('\n');
    const event = JSON.parse((await api.cli(['event', id!])).stdout) as Record<string, unknown>;
    expect(event).toMatchObject({
      eventID: id,
      digestVerified: true,
      raw: { verb: 'create', stage: 'ResponseComplete' },
    });
    expect(await api.cli(['findings'])).toEqual({ code: 0, stdout: '', stderr: 'nothing there\n' });
  });
});
