import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTrustedKeys } from '../../verify/keys.js';
import { verifyProof } from '../../verify/proof.js';
import { ask } from '../harness/api-client.js';
import { postSession, type RunningApi, runJob, startApi } from '../harness/running-api.js';
import { readScenarios } from '../scenarios/scenario.js';
import { type Told, tellScenarios } from '../scenarios/tell.js';
import { launchChromium } from './browser.js';
import { type OpenedPage, openPage, settled } from './opened-page.js';

const PICTURES = join(import.meta.dirname, '../../docs/pictures');
const ASKED = process.env.WHOCHANGED_PICTURES === '1';
const MOST_BYTES = 250_000;
const IMAGE = 'spec.template.spec.containers[*].image';
const ALERTS = `maxAge: 365d
builtIn: [cluster-admin-granted, secret-read-by-new-actor, gap-found]
rules:
  - { name: exec, title: Interactive access, severity: high, match: { change.class: access } }
  - name: scaled-far
    title: Scaled to five and more
    match: { diff.after.spec.replicas|gte: 5 }
`;

/** The newcomer's walk of the README, with its pictures: `npm run pictures` writes them. */
describe.skipIf(!ASKED)('the walk', () => {
  const folder = mkdtempSync(join(tmpdir(), 'whochanged-pictures-'));
  let browser: Browser;
  let api: RunningApi;
  let opened: OpenedPage;
  let judged: RunningApi;
  let told: Told;

  beforeAll(async () => {
    mkdirSync(PICTURES, { recursive: true });
    writeFileSync(join(folder, 'alerts.yaml'), ALERTS);
    api = await startApi({ WHOCHANGED_ALERTS_FILE: join(folder, 'alerts.yaml') });
    await runJob(api, 'raise-alerts');
    browser = await launchChromium();
    opened = await openPage(browser, api.http, api.adminToken, { width: 1280, height: 800 });
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await api?.stop();
    await told?.stop();
    await judged?.stop();
    rmSync(folder, { recursive: true });
  });

  async function take(page: Page, name: string, height = 800): Promise<void> {
    const path = join(PICTURES, `${name}.png`);
    const { width } = page.viewportSize()!;
    await page.setViewportSize({ width, height });
    await settled(page);
    // The chart comes after the rest.
    await new Promise((done) => setTimeout(done, 600));
    await page.screenshot({ path });
    expect([name, statSync(path).size < MOST_BYTES]).toEqual([name, true]);
  }

  it('connects a cluster', async () => {
    const kubeconfig = join(folder, 'webhook.yaml');
    const added = await api.cli(['source', 'add', 'prod-a', '--cluster', 'prod', '--kubeconfig', kubeconfig]);
    expect(added.code).toBe(0);
    expect(readFileSync(kubeconfig, 'utf8')).toContain('/ingest/v1/audit/prod-a');
    await postSession(api);
    for (const job of ['attribute', 'links', 'verdicts', 'raise-alerts', 'sequence-log', 'checkpoint'])
      await runJob(api, job);
    expect((await api.cli(['source', 'list'])).stdout).toMatch(/default .*ok/);
  }, 120_000);

  it('finds who changed an image, and exports the proof', async () => {
    const { page } = opened;
    const found = await api.cli([
      'deploy/web',
      '-n',
      'shop',
      '--field',
      IMAGE,
      '--since',
      '90d',
      '-o',
      'json',
    ]);
    const items = JSON.parse(found.stdout).items as Array<{ id: string; at: string; summary: string }>;
    const change = items.find(({ summary }) => summary.includes('1.1.0 → '))!;
    const [first] = (await ask(api, '/v1/changes?order=asc&limit=1')).json.items;
    const [last] = (await ask(api, '/v1/changes?limit=1')).json.items;
    const until = new Date(Date.parse(last.at) + 1000).toISOString();
    await opened.visit(`/?since=${first.at}&until=${until}&namespace=shop`);
    await take(page, 'timeline');
    await opened.visit(`/changes/${change.id}`);
    await page.getByRole('button', { name: 'Verify' }).click();
    await page.getByText('Verified.').waitFor();
    await page.evaluate('scrollTo(0, 0)');
    await take(page, 'change', 860);
    await page.setViewportSize({ width: 1280, height: 400 });
    await page.evaluate(
      `[...document.querySelectorAll('h2')].find((heading) => heading.textContent === 'Proof').scrollIntoView()`,
    );
    await take(page, 'proof', 400);

    const proof = join(folder, 'change.tlog-proof');
    expect((await api.cli(['proof', change.id, '--file', proof])).code).toBe(0);
    const keys = join(folder, 'log.keys');
    const { items: own } = (await ask(api, '/v1/log/keys')).json;
    writeFileSync(keys, own.map(({ verifierKey }: { verifierKey: string }) => `${verifierKey}\n`).join(''));
    const verified = await verifyProof(proof, await readTrustedKeys(keys), undefined);
    expect(verified).toMatchObject({ ok: true });
    await opened.visit('/alerts');
    await take(page, 'alerts');
  }, 120_000);

  it('makes the quarterly report', async () => {
    judged = await startApi({ WHOCHANGED_ROLES: 'ingest,api' });
    told = await tellScenarios(
      judged.pool,
      readScenarios().filter(({ host }) => host !== 'gitlab'),
    );
    const look = await openPage(browser, judged.http, judged.adminToken, { width: 1280, height: 620 });
    const quarter = 'since=2026-01-01T00:00:00Z&until=2026-04-01T00:00:00Z';
    await look.visit(`/approvals?${quarter}`);
    await take(look.page, 'approvals', 620);
    await look.visit(`/reports?control=soc2-cc8.1&${quarter}`);
    await take(look.page, 'reports', 800);
    const file = join(folder, 'q1.html');
    const period = ['--since', '2026-01-01T00:00:00Z', '--until', '2026-04-01T00:00:00Z'];
    expect((await judged.cli(['report', 'soc2-cc8.1', ...period, '--file', file])).code).toBe(0);
    await look.page.goto(pathToFileURL(file).href);
    await look.page.setViewportSize({ width: 1280, height: 800 });
    const path = join(PICTURES, 'report.png');
    await look.page.screenshot({ path });
    expect(statSync(path).size).toBeLessThan(MOST_BYTES);
    expect(await look.page.locator('h1').textContent()).toContain('CC8.1');
    await look.close();
  }, 180_000);
});
