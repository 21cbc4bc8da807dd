import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatVerifierKey, verifierOf } from '../../core/log/note.js';
import { checkpointJob } from '../../jobs/proof-log.js';
import { ask } from '../harness/api-client.js';
import { type RunningApi, startApi } from '../harness/running-api.js';
import { runVerify } from '../harness/verifier.js';
import { readScenarios, type Scenario } from '../scenarios/scenario.js';
import { clusterOf, type Told, tellScenarios } from '../scenarios/tell.js';
import { findChromium, launchChromium } from './browser.js';
import { type OpenedPage, openPage, seriousFindings, settled, sidewaysPixels } from './opened-page.js';

/** An edit past git, and a commit that is not deployed. */
const EDITED: Scenario = {
  number: 80,
  file: '80.yaml',
  title: 'an edit of what git deployed',
  git: {
    shop: [
      { push: 'base', by: 'carol', at: '07:00', image: 'web:1' },
      { push: 'next', by: 'alice', at: '08:00', image: 'web:2' },
    ],
  },
  cluster: [
    { at: '07:10', sync: 'web', revision: 'base', image: 'web:1' },
    { at: '09:00', edit: 'kubectl-edit', by: 'alice', image: 'web:hack' },
  ],
  expect: [],
};
const POLICY = join(import.meta.dirname, '../fixtures/scenarios/policy.yaml');
const PERIOD = 'since=2026-01-01T00:00:00Z&until=2026-04-01T00:00:00Z';
const REPORT = `/reports?control=soc2-cc8.1&${PERIOD}`;

describe.skipIf(findChromium() === undefined)('the page, of what was judged,', () => {
  const signer = { origin: 'ledger.example.com/test', privateKey: generateKeyPairSync('ed25519').privateKey };
  let api: RunningApi;
  let told: Told;
  let browser: Browser;
  let opened: OpenedPage;

  beforeAll(async () => {
    // Without the jobs, which would judge by the built-in policy meanwhile.
    api = await startApi({ WHOCHANGED_ROLES: 'ingest,api', WHOCHANGED_POLICY_FILE: POLICY });
    const scenarios = [...readScenarios().filter(({ number }) => number === 1 || number === 4), EDITED];
    told = await tellScenarios(api.pool, scenarios, join(api.folder, 'git'));
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const { signal } = new AbortController();
    await checkpointJob(signer).runOnce({ client: told.client, log, now: () => new Date(), signal });
    browser = await launchChromium();
    opened = await openPage(browser, api.http, api.adminToken);
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    await told?.stop();
    await api?.stop();
  });

  const drift = () => `/drift?cluster=${clusterOf(EDITED)}&engine=argocd&namespace=argocd&name=web`;

  it('has no serious finding of axe, and fits into 360 pixels', async () => {
    const { page } = opened;
    for (const path of [REPORT, '/drift', drift()]) {
      await opened.visit(path);
      expect([path, await page.locator('h1').count()]).toEqual([path, 1]);
      expect([path, await seriousFindings(page)]).toEqual([path, []]);
      await page.setViewportSize({ width: 360, height: 740 });
      expect([path, await sidewaysPixels(page)]).toEqual([path, 0]);
      await page.setViewportSize({ width: 1280, height: 900 });
    }
    expect(opened.troubles).toEqual([]);
  });

  it('makes a report by keyboard, exceptions first, as the API tells it', async () => {
    const { page } = opened;
    await opened.visit(`/reports?${PERIOD}`);
    await page.getByLabel('control').focus();
    await page.getByLabel('control').selectOption('soc2-cc8.1');
    await page.getByLabel('environment').selectOption('default');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Make' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('region', { name: 'Exceptions' }).waitFor();
    await settled(page);
    expect(new URL(page.url()).searchParams.get('environment')).toBe('default');
    const { json } = await ask(api, `/v1/reports/soc2-cc8.1?${PERIOD}&environment=default`);
    expect(json.exceptions.length).toBeGreaterThan(1);
    const shown = (region: string) =>
      page.evaluate<string[]>(
        `[...document.querySelectorAll('[role=region][aria-label=${region}] a[href^="/changes/"]')].map((link) => link.pathname.slice(9))`,
      );
    expect(await shown('Exceptions')).toEqual(json.exceptions.map(({ id }: { id: string }) => id));
    expect(await shown('Sample')).toEqual(json.sample.rows.map(({ id }: { id: string }) => id));
    const headings = await page.locator('section h2').allTextContents();
    expect(headings[1]).toMatch(/^Exceptions/);
    await page.getByText(json.completenessStatement).waitFor();
    await page.getByText(json.populationDigest).waitFor();
  });

  it('gives each format as a file, of the very report on show', async () => {
    const { page } = opened;
    await opened.visit(REPORT);
    const get = async (name: string) => {
      const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name, exact: true }).click(),
      ]);
      return { name: download.suggestedFilename(), path: (await download.path())! };
    };
    const { json } = await ask(api, `/v1/reports/soc2-cc8.1?${PERIOD}`);
    for (const [button, ending] of [
      ['HTML', '.html'],
      ['JSON', '.json'],
      ['NDJSON', '.ndjson'],
      ['OSCAL', '.oscal.json'],
    ] as const) {
      const file = await get(button);
      expect(file.name).toBe(`soc2-cc8.1_2026-01-01_2026-04-01${ending}`);
      expect([button, readFileSync(file.path, 'utf8').includes(json.populationDigest)]).toEqual([
        button,
        true,
      ]);
    }
    for (const [button, more] of [
      ['CSV', 1],
      ['OCSF', 0],
    ] as const) {
      const lines = readFileSync((await get(button)).path, 'utf8')
        .trim()
        .split('\n');
      expect([button, lines.length]).toEqual([button, json.rows + more]);
    }
    const bundle = await get('Proof bundle');
    const folder = join(api.folder, 'bundle');
    mkdirSync(folder);
    execFileSync('tar', ['xf', bundle.path, '-C', folder]);
    const keys = join(api.folder, 'log.keys');
    writeFileSync(keys, formatVerifierKey(verifierOf(signer.origin, createPublicKey(signer.privateKey))));
    const { code, output } = await runVerify(['report', folder, '--key-file', keys]);
    expect(output).toBe(`${json.rows} rows, ${2 * json.rows} proofs: it holds\n`);
    expect(code).toBe(0);
  });

  it('prints the page to sign, and nothing of itself', async () => {
    const { page } = opened;
    await opened.visit(REPORT);
    await page.evaluate('window.print = () => { window.printed = document.title; }');
    await page.getByRole('button', { name: 'Print, or PDF' }).click();
    await expect.poll(() => page.evaluate('window.printed')).toMatch(/^SOC 2 CC8\.1, 2026-01-01/);
    await page.emulateMedia({ media: 'print' });
    expect(await page.getByRole('heading', { name: 'Sign-off' }).isVisible()).toBe(true);
    const signoff = `document.querySelector('.paper').shadowRoot.querySelector('.signoff')`;
    expect(await page.evaluate(`getComputedStyle(${signoff}).breakBefore`)).toBe('page');
    expect(await page.getByRole('navigation').isVisible()).toBe(false);
    const pdf = (await page.pdf({ preferCSSPageSize: true })).toString('latin1');
    const [, wide, high] = /\/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]/.exec(pdf)!;
    expect(Number(wide)).toBeGreaterThan(Number(high));
    await page.emulateMedia({ media: 'screen' });
    expect(await page.getByRole('heading', { name: 'Sign-off' }).isVisible()).toBe(false);
    expect(opened.troubles).toEqual([]);
  });

  it('tells how an application stands to git, and who changed it past git', async () => {
    const { page } = opened;
    await opened.visit('/drift');
    const listed = page.getByRole('region', { name: 'Applications' }).locator('tbody tr');
    const { items } = (await ask(api, '/v1/drift')).json;
    expect(await listed.count()).toBe(items.length);
    await listed
      .filter({ hasText: clusterOf(EDITED) })
      .getByRole('link')
      .first()
      .click();
    await settled(page);
    const url = new URL(page.url());
    expect(url.pathname + url.search).toBe(drift());
    const found = page.getByRole('list', { name: 'What was found' });
    await found.getByText('changed outside git', { exact: true }).waitFor();
    await found.getByText('spec.template.spec.containers[web].image', { exact: true }).waitFor();
    await found.getByText('not deployed', { exact: true }).waitFor();
    expect(
      await page.getByRole('list', { name: 'Commits that are not deployed' }).locator('li').count(),
    ).toBe(1);
    await found.getByRole('link', { name: 'The change' }).click();
    await page.getByRole('heading', { name: 'What changed' }).waitFor();
    await page.locator('pre.after', { hasText: 'web:hack' }).waitFor();
    expect(opened.troubles).toEqual([]);
  });
});
