import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../main/config.js';
import { createLogger } from '../../main/log.js';
import { start } from '../../main/start.js';
import { ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, runJob, startApi } from '../harness/running-api.js';
import { PostReceiver } from '../jobs/alerts/alerting.js';

const KEY = 'whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=';
const SIGMA = `title: Deployment deleted
logsource: {product: kubernetes, service: audit}
level: high
detection:
  s: {verb: delete, objectRef.resource: deployments}
  condition: s
---
title: Counted
logsource: {product: kubernetes, service: audit}
detection:
  s: {verb: delete}
  condition: s | count() > 3
`;

const folder = mkdtempSync(join(tmpdir(), 'whochanged-alerts-api-'));
const file = join(folder, 'alerts.yaml');
const receiver = new PostReceiver();
let api: RunningApi;
let cluster: Cluster;
let deleted: string;

function writeRules(more = ''): void {
  writeFileSync(
    file,
    `maxAge: 365d
receivers:
  - { name: oncall, kind: webhook, url: "${receiver.url}", secret: "env:WHOCHANGED_CREDENTIAL_ALERTS" }
builtIn: [gap-found]
sigma: [sigma.yaml]
rules:
  - name: image-changed
    match: { diff.path|startswith: "spec.template.spec.containers" }
    to: []
${more}`,
  );
}

beforeAll(async () => {
  await receiver.up();
  writeFileSync(join(folder, 'sigma.yaml'), SIGMA);
  writeRules();
  process.env.WHOCHANGED_CREDENTIAL_ALERTS = KEY;
  api = await startApi({ WHOCHANGED_ALERTS_FILE: file });
  await runJob(api, 'raise-alerts');
  cluster = new Cluster();
  await api.post(
    eventList([
      cluster.deployment('create', 'web', { image: 'web:1' }),
      cluster.deployment('update', 'web', { image: 'web:2' }),
      cluster.deployment('delete', 'web', { image: 'web:2' }),
      cluster.write(
        'delete',
        { group: 'apps', resource: 'deployments', namespace: 'vault', name: 'vault-web' },
        { kind: 'Deployment' },
        { user: { username: 'mallory@example.com' } },
      ),
    ]),
  );
  await runJob(api, 'raise-alerts');
  await runJob(api, 'deliver-alerts');
  const { items } = (await ask(api, '/v1/alerts?rule=Deployment%20deleted&namespace=shop')).json;
  deleted = items[0].id;
});
afterAll(async () => {
  await api?.stop();
  await receiver.down();
  rmSync(folder, { recursive: true });
});

describe('alerts by the API', () => {
  it('are listed page by page, filtered, and told one by one', async () => {
    const { items } = (await ask(api, '/v1/alerts')).json;
    expect(items.map((item: { rule: string }) => item.rule).sort()).toEqual([
      'Deployment deleted',
      'Deployment deleted',
      'image-changed',
    ]);
    const first = (await ask(api, '/v1/alerts?limit=2')).json;
    const second = (await ask(api, `/v1/alerts?limit=2&cursor=${first.next}`)).json;
    expect([...first.items, ...second.items]).toEqual(items);
    expect(second.next).toBeNull();
    expect((await ask(api, '/v1/alerts?severity=high&namespace=vault')).json.items).toMatchObject([
      { username: 'mallory@example.com', object: 'apps/deployments vault/vault-web', severity: 'high' },
    ]);
    expect((await ask(api, '/v1/alerts?cluster=other')).json.items).toEqual([]);
    const one = (await ask(api, `/v1/alerts/${deleted}`)).json;
    expect(one).toMatchObject({ id: deleted, cluster: 'default', matches: 1, namespace: 'shop' });
    expect((await ask(api, '/v1/alerts/424242')).status).toBe(404);
  });

  it('tell who was told, and nothing of addresses and keys', async () => {
    const { items } = (await ask(api, `/v1/alert-deliveries?alert=${deleted}`)).json;
    expect(items).toMatchObject([
      { receiver: 'oncall', state: 'delivered', attempts: 1, tries: [{ status: 200, error: null }] },
    ]);
    // The rule image-changed tells nobody.
    expect((await ask(api, '/v1/alert-deliveries')).json.items).toHaveLength(2);
    const pages = [(await ask(api, '/v1/alert-deliveries?limit=1')).json];
    pages.push((await ask(api, `/v1/alert-deliveries?limit=1&cursor=${pages[0].next}`)).json);
    expect(new Set(pages.map(({ items }) => items[0].alert)).size).toBe(2);
    const rules = await ask(api, '/v1/alert-rules');
    expect(rules.json.receivers).toEqual([
      { name: 'oncall', kind: 'webhook', place: new URL(receiver.url).origin },
    ]);
    expect(
      rules.json.rules.map((rule: { name: string; on: string; format: string }) => [
        rule.name,
        rule.on,
        rule.format,
      ]),
    ).toEqual([
      ['gap-found', 'gap', 'built-in'],
      ['image-changed', 'change', 'own'],
      ['Deployment deleted', 'event', 'sigma'],
    ]);
    expect(rules.json.unsupported).toEqual([{ name: 'Counted', problem: 'an aggregation' }]);
    expect(api.log()).toContain('an aggregation');
    const told = rules.text + JSON.stringify(items) + api.log() + (await ask(api, '/metrics')).text;
    expect(told).not.toContain(KEY);
    expect(told).not.toContain('/hook');
  });

  it('are a tenant’s only in its namespaces', async () => {
    const body = { name: 'team-shop', role: 'admin', clusters: ['default'], namespaces: ['shop'] };
    const { token } = (await ask(api, '/v1/tokens', { method: 'POST', body })).json;
    const { items } = (await ask(api, '/v1/alerts', { token })).json;
    expect(items.length).toBe(2);
    expect(JSON.stringify(items)).not.toMatch(/vault|mallory/);
    const foreign = (await ask(api, '/v1/alerts?namespace=vault')).json.items[0].id;
    expect((await ask(api, `/v1/alerts/${foreign}`, { token })).status).toBe(404);
    for (const [method, path] of [
      ['GET', '/v1/alert-deliveries'],
      ['GET', '/v1/alert-rules'],
      ['POST', `/v1/alerts/${deleted}/ack`],
    ] as const)
      expect((await ask(api, path, { token, method, ...(method === 'POST' && { body: {} }) })).status).toBe(
        403,
      );
  });

  it('are seen to by somebody, once', async () => {
    const answer = await api.cli(['alert', 'ack', deleted, '--note', 'planned, CHG-1042', '-o', 'json']);
    expect(JSON.parse(answer.stdout)).toMatchObject({ acked: { note: 'planned, CHG-1042' } });
    await ask(api, `/v1/alerts/${deleted}/ack`, { method: 'POST', body: { note: 'another' } });
    expect((await ask(api, `/v1/alerts/${deleted}`)).json.acked.note).toBe('planned, CHG-1042');
    const open = (await ask(api, '/v1/alerts?acked=false')).json.items;
    expect(open.map((item: { id: string }) => item.id)).not.toContain(deleted);
    expect(open).toHaveLength(2);
  });
});

describe('the command line', () => {
  it('lists alerts, one of them, deliveries and rules', async () => {
    const list = await api.cli(['alert', 'list', '--severity', 'high']);
    expect(list.stdout).toMatch(/Deployment deleted .*alice@example\.com/);
    const one = await api.cli(['alert', 'show', deleted]);
    expect(one.stdout).toContain('apps/deployments shop/web');
    expect((await api.cli(['alert', 'deliveries', deleted])).stdout).toMatch(/oncall +delivered/);
    const rules = await api.cli(['alert', 'rules']);
    expect(rules.stdout).toMatch(/gap-found +built-in +high/);
    expect(rules.stderr).toContain('left out: Counted: an aggregation');
    expect(rules.stderr).toContain('exec-in-production');
  });

  it('tells what rules would have alerted, and writes nothing', async () => {
    const rules = join(folder, 'tried.yaml');
    writeFileSync(
      rules,
      `rules:
  - { name: by-mallory, match: { username: "mallory@*" } }
  - { name: to-two, match: { diff.after.spec.template.spec.containers.image: "web:2" } }
  - { name: never, match: { change.kind: exec } }
builtIn: [source-silent, secret-read-by-new-actor]
`,
    );
    const before = await api.query('select count(*) from alerts');
    const answer = await api.cli(['alert', 'test', rules, '--since', '2026-03-01T00:00:00Z', '-o', 'json']);
    const found = JSON.parse(answer.stdout);
    const count = (name: string) => found.rules.find(({ rule }: { rule: string }) => rule === name);
    expect(count('by-mallory')).toMatchObject({ matches: 1, alerts: 1 });
    expect(count('to-two')).toMatchObject({ matches: 1, alerts: 1 });
    expect(count('never')).toMatchObject({ matches: 0, alerts: 0 });
    expect(count('source-silent').notTested).toMatch(/only the last time/);
    expect(found.items).toHaveLength(2);
    expect(JSON.stringify((await api.query('select count(*) from alerts')) as object)).toBe(
      JSON.stringify(before),
    );
    const sigma = await api.cli([
      'alert',
      'test',
      join(folder, 'sigma.yaml'),
      '--since',
      '2026-03-01T00:00:00Z',
    ]);
    expect(sigma.stdout).toContain('Deployment deleted: 2 alerts of 2 matches');
    expect(sigma.stderr).toContain('left out: Counted: an aggregation');
    const elsewhere = [
      'alert',
      'test',
      rules,
      '--since',
      '2026-02-01T00:00:00Z',
      '--until',
      '2026-03-01T00:00:00Z',
    ];
    expect((await api.cli([...elsewhere, '--exit-code'])).code).toBe(0);
  });
});

describe('the file of rules', () => {
  it('is read again when it changes, and the last good one holds on', async () => {
    writeRules('  - { name: scaled, match: { change.kind: scale } }\n');
    const names = async () =>
      (await ask(api, '/v1/alert-rules')).json.rules.map((rule: { name: string }) => rule.name);
    await expect.poll(names).toContain('scaled');
    writeRules('  - { name: broken, match: { no.such.field: 1 } }\n');
    expect(await names()).toContain('scaled');
    expect(api.log()).toContain('the last good one holds on');
    expect(api.log()).toContain('the field no.such.field');
    writeFileSync(join(folder, 'sigma.yaml'), SIGMA.replace('Deployment deleted', 'Renamed'));
    writeRules();
    await expect.poll(names).toContain('Renamed');
    writeFileSync(join(folder, 'sigma.yaml'), SIGMA);
    await expect.poll(names).toContain('Deployment deleted');
  });

  it('names every problem with its line', async () => {
    const text = `receivers:
  - { name: chat, kind: slack, url: "http://chat.example.com/${KEY}" }
  - { name: mail, kind: email, host: smtp.example.com, from: nobody, to: [oncall@example.com] }
rules:
  - { name: a, match: { verb: delete }, to: [nobody] }
  - { name: a, match: { verb: delete }, window: soon }
  - { name: b, on: change, match: { verdict.verdict: unapproved } }
  - { name: c }
builtIn: [nothing]
`;
    const answer = await ask(api, '/v1/alert-rules/check', {
      method: 'POST',
      body: { text, name: 'alerts.yaml' },
    });
    expect(answer.status).toBe(400);
    const { detail } = answer.json;
    for (const [line, word] of [
      [2, 'receivers[0].url'],
      [3, 'receivers[1].from'],
      [5, 'rules[0].to'],
      [6, 'rules[1].window'],
      [6, 'rules[1].name'],
      [7, 'rules[2].match'],
      [8, 'rules[3].match'],
      [9, 'builtIn'],
    ])
      expect(detail).toContain(`line ${line}: ${word}`);
    expect(detail).not.toContain(KEY);
  });

  it('keeps the process from starting where it is not valid', async () => {
    const broken = join(folder, 'broken.yaml');
    writeFileSync(broken, 'rules: [{ name: x }]\n');
    const config = readConfig({
      WHOCHANGED_DATA_DIR: join(folder, 'data'),
      DATABASE_URL: api.databaseURL,
      WHOCHANGED_HTTP_PORT: '0',
      WHOCHANGED_HTTPS_PORT: '0',
      WHOCHANGED_ALERTS_FILE: broken,
    });
    const log = createLogger('silent', { write: () => undefined });
    await expect(start(config, log, () => undefined)).rejects.toThrow(
      /broken\.yaml has a problem:\s+line 1: rules\[0\]\.match/,
    );
  });

  it('is what the example in deploy/ is', async () => {
    const text = readFileSync(join(import.meta.dirname, '../../deploy/alerts.example.yaml'), 'utf8');
    const answer = await ask(api, '/v1/alert-rules/check', { method: 'POST', body: { text } });
    expect(answer.json.rules.length).toBeGreaterThan(8);
    expect(answer.json.unsupported).toEqual([]);
  });
});
