import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../harness/api-client.js';
import { type RunningApi, runJob, startApiWithSession } from '../harness/running-api.js';
import { findChromium, launchChromium } from './browser.js';
import { type OpenedPage, openPage, seriousFindings, settled, sidewaysPixels } from './opened-page.js';

const chromium = findChromium();
if (chromium === undefined)
  console.log('the page is not tested: no Chromium on the PATH (apt-get install chromium)');

const ALERTS = `maxAge: 365d
builtIn: [cluster-admin-granted, gap-found]
rules:
  - { name: exec, title: Interactive access, severity: high, match: { change.class: access } }
`;
const IMAGE = encodeURIComponent('spec.template.spec.containers[*].image');

describe.skipIf(chromium === undefined)('the page', () => {
  const folder = mkdtempSync(join(tmpdir(), 'whochanged-page-'));
  let api: RunningApi;
  let browser: Browser;
  let opened: OpenedPage;
  let window: string;
  let imageChange: { id: string; at: string; object: { name: string } };

  beforeAll(async () => {
    writeFileSync(join(folder, 'alerts.yaml'), ALERTS);
    api = await startApiWithSession({ WHOCHANGED_ALERTS_FILE: join(folder, 'alerts.yaml') });
    await runJob(api, 'raise-alerts');
    // As if alerts had been there from the first event on.
    await api.query(`update job_cursors set seq = -1 where job like 'alerts-%' and cluster_id <> 0`);
    for (const job of ['raise-alerts', 'sequence-log', 'checkpoint']) await runJob(api, job);
    const [first] = (await ask(api, '/v1/changes?order=asc&limit=1')).json.items;
    const [last] = (await ask(api, '/v1/changes?limit=1')).json.items;
    const until = new Date(Date.parse(last.at) + 1000).toISOString();
    window = `since=${first.at}&until=${until}`;
    const images = (await ask(api, `/v1/changes?resource=deploy&name=web&namespace=shop&field=${IMAGE}`))
      .json;
    imageChange = images.items.find((item: { summary: string }) => item.summary.includes('1.1.0 → '));
    browser = await launchChromium();
    opened = await openPage(browser, api.http, api.adminToken);
  });
  afterAll(async () => {
    await browser?.close();
    await api?.stop();
    rmSync(folder, { recursive: true });
  });

  const views = (): Record<string, string> => ({
    timeline: `/?${window}`,
    'a filtered timeline': `/?${window}&namespace=shop&resource=deploy&tool=kubectl`,
    'a timeline without answers': `/?${window}&namespace=nowhere`,
    'a change': `/changes/${imageChange.id}`,
    'an object': `/objects/default/apps/deployments/shop/web?from=${window.slice(6, 30)}&to=${imageChange.at}`,
    'an actor': `/actors/${encodeURIComponent('alice@example.com')}?${window}`,
    'an incident': `/incident?${window}&namespace=shop`,
    alerts: '/alerts',
    approvals: `/approvals?${window}`,
    sources: '/sources',
    'applications that there are none of': '/drift',
    'a report': `/reports?${window}&control=soc2-cc7.2`,
  });

  it('shows each view without an error, in 360 pixels too, and axe finds nothing serious, light and dark', async () => {
    const { page } = opened;
    for (const scheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      // Only colours differ, and these two views show them all.
      const shown = Object.entries(views()).filter(
        ([name]) => scheme === 'light' || /an object|a filtered/.test(name),
      );
      for (const [name, path] of shown) {
        // One that fits where it was narrow from the start is widened: a view's load costs more than all that is looked at.
        await page.setViewportSize({ width: 360, height: 740 });
        await opened.visit(path);
        expect([name, await sidewaysPixels(page)]).toEqual([name, 0]);
        await page.setViewportSize({ width: 1280, height: 900 });
        await settled(page);
        expect([name, await page.locator('h1').count()]).toEqual([name, 1]);
        expect([name, opened.troubles]).toEqual([name, []]);
        expect([name, scheme, await seriousFindings(page)]).toEqual([name, scheme, []]);
      }
    }
    await page.emulateMedia({ colorScheme: 'light' });
  });

  it('tells the same changes as the API, and counts them over time', async () => {
    const answer = (await ask(api, `/v1/changes?${window}&namespace=shop&limit=50`)).json;
    await opened.visit(`/?${window}&namespace=shop`);
    const shown = await opened.page.evaluate<string[]>(
      `[...document.querySelectorAll('.changes a.what')].map((link) => link.pathname.replace('/changes/', ''))`,
    );
    expect(shown).toEqual(answer.items.map((item: { id: string }) => item.id));
    const density = (await ask(api, `/v1/changes/density?${window}&namespace=shop`)).json;
    const total = density.items.reduce((sum: number, item: { count: number }) => sum + item.count, 0);
    expect(await opened.page.locator('figcaption strong').textContent()).toBe(total.toLocaleString('en'));
    await opened.page.locator('canvas').waitFor();
  });

  it('zooms to what is brushed, and the address says so', async () => {
    const { page } = opened;
    await opened.visit(`/?${window}`);
    const box = (await page.locator('.u-over').boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.25, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.5, box.y + 20, { steps: 5 });
    await page.mouse.up();
    await expect.poll(() => new URL(page.url()).searchParams.get('since')).not.toBe(window.slice(6, 33));
    const query = new URL(page.url()).searchParams;
    const [from, to] = [Date.parse(query.get('since')!), Date.parse(query.get('until')!)];
    const [first, last] = [...new URLSearchParams(window).values()].map((time) => Date.parse(time));
    expect((to - from) / (last! - first!)).toBeCloseTo(0.25, 1);
    expect((from - first!) / (last! - first!)).toBeCloseTo(0.25, 1);
    await page.goBack();
    await expect.poll(() => new URL(page.url()).search).toBe(`?${window}`);
  });

  it('is worked with the keyboard alone', async () => {
    const { page } = opened;
    await opened.visit(`/?${window}`);
    const tabTo = async (selector: string) => {
      for (let presses = 0; presses < 60; presses++) {
        if (await page.evaluate(`document.activeElement.matches(${JSON.stringify(selector)})`)) return;
        await page.keyboard.press('Tab');
      }
      throw new Error(`no way to ${selector} by Tab`);
    };
    await tabTo('.skip');
    await tabTo('input[name=namespace]');
    await page.keyboard.type('shop');
    await tabTo('select[name=kind]');
    await page.keyboard.type('scale');
    await tabTo('.filters button.main');
    await page.keyboard.press('Enter');
    await expect.poll(() => new URL(page.url()).searchParams.get('kind')).toBe('scale');
    await settled(page);
    await tabTo('.changes a.what');
    const outline = await page.evaluate('getComputedStyle(document.activeElement).outlineStyle');
    expect(outline).toBe('solid');
    await page.keyboard.press('Enter');
    await expect.poll(() => new URL(page.url()).pathname).toMatch(/^\/changes\//);
    await page.getByRole('heading', { name: 'What changed' }).waitFor();
    // Reading goes on at the heading, which comes with the answer.
    await expect.poll(() => page.evaluate('document.activeElement.tagName')).toBe('H1');
  });

  it('shows a change side by side, and verifies its proof by itself', async () => {
    const { page } = opened;
    await opened.visit(`/changes/${imageChange.id}`);
    const field = page.locator('.diff', { hasText: 'spec.template.spec.containers[web].image' });
    expect(await field.locator('pre.before').textContent()).toContain('/web:1.1.0');
    expect(await field.locator('pre.after').textContent()).toContain('/web:1.2.0');
    await page.getByRole('button', { name: 'Verify' }).click();
    await page.getByText('Verified.').waitFor();
    expect(await page.locator('.checks .holds').count()).toBe(3);
  });

  it('refuses a proof that was tampered with, and a key that is not the log’s', async () => {
    const { page } = opened;
    const path = `**/v1/changes/${imageChange.id}/proof`;
    const tampers: Array<(proof: { leaf: string; hashes: string[]; checkpoint: string }) => void> = [
      (proof) =>
        (proof.leaf = proof.leaf.replace(/^sha256 ./m, (text) =>
          text.endsWith('0') ? 'sha256 1' : 'sha256 0',
        )),
      (proof) => proof.hashes.reverse(),
      (proof) =>
        (proof.checkpoint = proof.checkpoint.replace(/^(\d+)\n/m, (_, size) => `${Number(size) + 1}\n`)),
    ];
    for (const tamper of tampers) {
      await page.route(path, async (route) => {
        const proof = await (await route.fetch()).json();
        tamper(proof);
        await route.fulfill({ json: proof });
      });
      await opened.visit(`/changes/${imageChange.id}`);
      await page.getByRole('button', { name: 'Verify' }).click();
      await page.getByText('Not verified.').waitFor();
      await page.unroute(path);
    }
    const other = 'other.example.com+3c2ae2f1+AeLKvDhwnDjDS5dVJFZwkCH6mTRRRDpUXoMkBNBkPGbB';
    await page.getByText('Key to trust').click();
    await page.getByLabel('A verifier key').fill(other);
    await page.getByRole('button', { name: 'Verify' }).click();
    await page.getByText('Not verified.').waitFor();
    await page.evaluate('localStorage.clear()');
  });

  it('goes through an object’s versions, compares two times and gives a manifest back', async () => {
    const { page } = opened;
    await opened.visit('/objects/default/apps/deployments/shop/web');
    const slider = page.getByRole('slider');
    const versions = Number(await slider.getAttribute('max')) + 1;
    expect(versions).toBeGreaterThan(5);
    await slider.focus();
    await page.keyboard.press('Home');
    await expect.poll(() => new URL(page.url()).searchParams.get('at')).not.toBeNull();
    const at = new URL(page.url()).searchParams.get('at')!;
    const state = (await ask(api, `/v1/objects/default/apps/deployments/shop/web/state?at=${at}`)).json;
    await page.getByText(`${state.fields.length} fields`).waitFor();
    expect(await page.locator('.fields tbody tr').count()).toBe(state.fields.length);
    expect(await page.locator('.fields .label').first().textContent()).toMatch(/exact|inferred|unknown/);
    await page.getByRole('button', { name: 'Manifest to go back to this' }).click();
    expect(await page.getByRole('region', { name: 'Manifest' }).textContent()).toContain('kind: Deployment');
    await page.getByLabel('to', { exact: true }).fill(imageChange.at);
    await page.getByRole('button', { name: 'Compare' }).click();
    await page.locator('.diff').first().waitFor();
    expect(new URL(page.url()).searchParams.get('from')).not.toBeNull();
  });

  it('puts what is risky first in an incident', async () => {
    await opened.visit(`/incident?${window}`);
    const titles = await opened.page.locator('section h2').allTextContents();
    expect(titles.map((title) => title.replace(/\d.*$/, '').trim())).toEqual([
      'Rights granted',
      'Interactive access',
      'Secrets read',
      'Images',
      'Configuration',
      'Out-of-band',
      'Deleted',
    ]);
    for (const title of ['Rights granted', 'Interactive access', 'Images'])
      expect(await opened.page.getByRole('list', { name: title }).locator('li').count()).toBeGreaterThan(0);
  });

  it('counts what an actor did, and leads from a count to what it counts', async () => {
    const { page } = opened;
    const actor = encodeURIComponent('alice@example.com');
    const told = (await ask(api, `/v1/actors/${actor}/activity?${window}`)).json;
    await opened.visit(`/actors/${actor}?${window}`);
    expect(await page.locator('.changes li').count()).toBe(told.items.length);
    const kinds = Object.entries<number>(told.kinds).sort(([, one], [, other]) => other - one);
    // The page shows the first twelve.
    const [kind, total] = kinds.slice(0, 12).at(-1)!;
    const count = page
      .locator('.counts section')
      .first()
      .locator('li')
      .nth(Math.min(12, kinds.length) - 1);
    expect(await count.textContent()).toMatch(
      new RegExp(`^\\s*${kind.replaceAll('_', ' ')}\\s*${total}\\s*$`),
    );
    await count.getByRole('link').click();
    await settled(page);
    expect(new URL(page.url()).searchParams.get('kind')).toBe(kind);
    expect(await page.locator('.changes li').count()).toBe(total);
  });

  it('shows how sources stand, and what is known to be missing', async () => {
    const { page } = opened;
    // Long ago: the job that finds gaps looks at the last days, and would close this one.
    await api.query(
      `insert into gaps (cluster_id, source_id, cause, subject, since, until, missing, evidence, opened_at)
       select cluster_id, id, 'receiver_down', 'x', now() - interval '400 days', now() - interval '399 days', 7, '{}', now() from sources`,
    );
    await opened.visit('/sources');
    const gap = page.getByRole('region', { name: 'Open gaps' }).locator('tbody tr');
    expect(await gap.first().textContent()).toMatch(/default.*receiver down.*7/);
    const { items } = (await ask(api, '/v1/sources')).json;
    expect(await page.getByRole('region', { name: 'Sources' }).locator('tbody tr').count()).toBe(
      items.length,
    );
    expect(await page.getByRole('region', { name: 'Sources' }).textContent()).toContain(
      items[0].health.events.toLocaleString('en'),
    );
    const [before, behind, later] = [401, 398, 397].map((days) =>
      new Date(Date.now() - days * 86_400_000).toISOString(),
    );
    const told = page.getByText(/^\s*Not complete: \d+ known gaps? touch(es)? this time\./);
    await opened.visit(`/?since=${before}&until=${behind}`);
    expect(await told.count()).toBe(1);
    await opened.visit(`/?since=${behind}&until=${later}`);
    expect(await told.count()).toBe(0);
    await api.query('delete from gaps');
  });

  it('shows alerts, and that somebody has seen to one', async () => {
    const { page } = opened;
    const open = (await ask(api, '/v1/alerts?acked=false')).json.items;
    expect(open.length).toBeGreaterThan(1);
    await opened.visit('/alerts');
    expect(await page.locator('.alerts li').count()).toBe(open.length);
    expect(await page.getByRole('region', { name: 'Rules' }).locator('tbody tr').count()).toBe(3);
    const first = page.locator('.alerts li').first();
    await first.getByRole('textbox').fill('planned');
    await first.getByRole('button', { name: 'Seen to' }).click();
    await first.getByText('Seen to by').waitFor();
    expect((await ask(api, `/v1/alerts/${open[0].id}`)).json.acked.note).toBe('planned');
    await opened.visit('/alerts');
    expect(await page.locator('.alerts li').count()).toBe(open.length - 1);
    await page.getByRole('button', { name: 'All' }).click();
    await expect.poll(() => page.locator('.alerts li').count()).toBe(open.length);
  });

  it('asks for nothing that a tenant may not see', async () => {
    const body = { name: 'team-shop', role: 'admin', clusters: ['default'], namespaces: ['shop'] };
    const { token } = (await ask(api, '/v1/tokens', { method: 'POST', body })).json;
    const look = await openPage(browser, api.http, token);
    for (const [name, path] of Object.entries(views())) {
      await look.visit(path);
      expect([name, look.troubles]).toEqual([name, []]);
    }
    await look.visit('/alerts');
    expect(await look.page.locator('.alerts li').count()).toBeGreaterThan(0);
    expect(await look.page.getByRole('button', { name: 'Seen to' }).count()).toBe(0);
    await look.close();
  });

  it('counts verdicts by week and environment, and lists what a count is made of', async () => {
    const { page } = opened;
    const { items } = (await ask(api, `/v1/verdicts/weeks?${window}`)).json;
    const all = (await ask(api, `/v1/verdicts?${window}&limit=1000`)).json.items as Array<{
      verdict: string;
    }>;
    const asked = all.filter(({ verdict }) => verdict !== 'excluded' && verdict !== 'system');
    const sum = items.reduce((total: number, item: { count: number }) => total + item.count, 0);
    expect(sum).toBe(asked.length);
    expect(sum).toBeGreaterThan(10);
    await opened.visit(`/approvals?${window}`);
    const cell = page.locator('td a.label').first();
    const count = Number(await cell.textContent());
    const [verdict] = /(?<=^\d+ )[a-z-]+/.exec((await cell.getAttribute('aria-label'))!)!;
    expect(count).toBe(items.find((item: { verdict: string }) => item.verdict === verdict).count);
    await cell.click();
    await settled(page);
    const list = page.locator('section').first();
    expect(await list.locator('.changes li').count()).toBe(Math.min(50, count));
    expect(new URL(page.url()).searchParams.get('verdict')).toBe(verdict);
    for (const name of ['Overdue break-glass', 'Break-glass that waits for its review', 'Self-approved'])
      await page.getByRole('heading', { name }).waitFor();
  });

  it('writes times of the chart in 24 hours', async () => {
    const look = await openPage(browser, api.http, api.adminToken);
    await look.page.addInitScript(
      `window.drawn = []; const draw = CanvasRenderingContext2D.prototype.fillText;
       CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) { window.drawn.push(text); return draw.call(this, text, ...rest); };`,
    );
    await look.visit('/?since=2026-11-24T06:00:00Z&until=2026-11-24T18:00:00Z');
    const drawn = () => look.page.evaluate<string[]>('window.drawn');
    await expect.poll(drawn, { timeout: 10_000 }).toContain('13:00');
    expect((await drawn()).filter((text) => /[ap]m/i.test(text))).toEqual([]);
    await look.close();
  });

  it('has a heading where nothing is found', async () => {
    for (const path of ['/changes/00000000-0000-8000-8000-000000000000', '/alerts/nowhere', '/objects/x'])
      if ((await fetch(api.http + path)).status === 200) {
        await opened.visit(path);
        expect([path, await opened.page.locator('h1').count()]).toEqual([path, 1]);
      }
    await opened.page.evaluate(
      `history.pushState(null, '', '/nowhere'); dispatchEvent(new PopStateEvent('popstate'))`,
    );
    await opened.page.getByRole('heading', { level: 1, name: 'Nothing is here' }).waitFor();
    opened.troubles.length = 0;
  });

  it('shows new changes while it is live', async () => {
    const { page } = opened;
    await opened.visit('/?since=1d&live=true');
    await page.getByText('0 new since you came').waitFor();
    const at = new Date().toISOString().replace('Z', '000Z');
    const event = {
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level: 'Metadata',
      auditID: 'a8f5f167-0000-4000-8000-000000000001',
      stage: 'ResponseComplete',
      requestURI: '/api/v1/namespaces/shop/configmaps/live',
      verb: 'delete',
      user: { username: 'carol@example.com', groups: ['system:authenticated'] },
      objectRef: { resource: 'configmaps', namespace: 'shop', name: 'live', apiVersion: 'v1' },
      responseStatus: { code: 200 },
      requestReceivedTimestamp: at,
      stageTimestamp: at,
    };
    await api.post(JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1', items: [event] }));
    await page.getByRole('link', { name: 'carol@example.com', exact: true }).waitFor();
    await page.getByText('1 new since you came').waitFor();
  });

  it('keeps the token out of every address, and forgets it when told to', async () => {
    const { page } = opened;
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    await opened.visit(`/?${window}`);
    await page.getByRole('button', { name: 'Copy permalink' }).click();
    const copied = await page.evaluate<string>('navigator.clipboard.readText()');
    expect(copied).toContain(`/?${new URLSearchParams(window)}`);
    expect([...asked, copied].filter((url) => url.includes(api.adminToken))).toEqual([]);
    expect(asked.length).toBeGreaterThan(3);
    await page.getByRole('button', { name: 'Forget token' }).click();
    await page.getByLabel('Token').waitFor();
    expect(await page.evaluate('JSON.stringify({ ...sessionStorage, ...localStorage })')).toBe('{}');
  });

  it('says what is wrong with a token', async () => {
    const { page } = opened;
    await page.getByLabel('Token').fill('wc_wrong');
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByText('the token is not valid, or no longer').waitFor();
    await page.getByLabel('Token').waitFor();
  });
});
