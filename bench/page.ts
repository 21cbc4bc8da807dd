import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser } from 'playwright-core';
import { startSystem } from '../test/harness/system.js';
import { launchChromium } from '../test/web/browser.js';
import { fillFolder, poolOf } from './filled-ledger.js';

/**
 * `npm run bench:page -- [events] [samples]`
 * A filtered timeline in Chromium over a ledger of this many events, each sample in a browser that has nothing cached and
 * at another place: from the navigation until something is painted, and until the changes are.
 * BENCH_KEEP=folder keeps the filled ledger there, or takes it from there.
 */
const events = Number(process.argv[2] ?? 5_000_000);
const samples = Number(process.argv[3] ?? 30);
const kept = process.env.BENCH_KEEP;
const folder = kept ?? (await mkdtemp(join(tmpdir(), 'whochanged-page-')));

/** Notes when the first change is painted: two frames after it is in the document. */
const WATCH = `new MutationObserver((_, observer) => {
  if (!document.querySelector('.changes li')) return;
  observer.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.listedAt = performance.now(); }));
}).observe(document, { childList: true, subtree: true });`;

interface Sample {
  /** First contentful paint, in milliseconds from the navigation. */
  painted: number;
  /** The list of changes is painted. */
  listed: number;
  rows: number;
}

async function look(browser: Browser, url: string, token: string): Promise<Sample> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await context.addInitScript(
    `sessionStorage.setItem('whochanged-token', ${JSON.stringify(token)}); ${WATCH}`,
  );
  const page = await context.newPage();
  await page.goto(url);
  // By the debugger: a script that asks again and again is one that the page's policy refuses.
  while (!(await page.evaluate('window.listedAt > 0'))) await sleep(20);
  const sample = await page.evaluate<Sample>(
    `({ painted: performance.getEntriesByName('first-contentful-paint')[0].startTime, listed: window.listedAt,
        rows: document.querySelectorAll('.changes li').length })`,
  );
  await context.close();
  return sample;
}

function figures(values: number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  return [at(0.5), at(0.95), at(1)].map((ms) => ms.toFixed(0).padStart(8)).join('');
}

await fillFolder(folder, events);
const system = await startSystem(folder, { WHOCHANGED_ROLES: 'api' }, 'build');
const pool = poolOf(folder);
const browser = await launchChromium();
try {
  const token = readFileSync(join(folder, 'admin-token'), 'utf8').trim();
  const { rows: counted } = await pool.query<{ events: number; changes: number }>(
    'select (select count(*) from events)::int as events, (select count(*) from changes)::int as changes',
  );
  // Namespaces and days in which there is something to see.
  const { rows: places } = await pool.query<{ namespace: string; day: string }>(
    `select namespace, day from (
       select namespace, to_char(at at time zone 'UTC', 'YYYY-MM-DD') as day from changes
        where class in ('change', 'access') and namespace <> '' group by 1, 2 having count(*) >= 20) p
      order by md5(namespace || day)`,
  );
  if (places.length === 0) throw new Error('the ledger holds no namespace with 20 changes in a day');
  console.log(
    `${cpus().length} cores (${cpus()[0]?.model}), load ${loadavg()[0]!.toFixed(1)}, Node ${process.version}, Chromium ${browser.version()}`,
  );
  console.log(
    `${counted[0]!.events.toLocaleString('en')} events, ${counted[0]!.changes.toLocaleString('en')} changes; ${samples} samples`,
  );
  const found: Sample[] = [];
  for (let i = 0; i < samples; i++) {
    const { namespace, day } = places[i % places.length]!;
    const until = new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString();
    const query = new URLSearchParams({ since: `${day}T00:00:00Z`, until, namespace });
    found.push(await look(browser, `${system.http}/?${query}`, token));
  }
  console.log(`${''.padEnd(28)}${'p50 ms'.padStart(8)}${'p95 ms'.padStart(8)}${'max ms'.padStart(8)}`);
  console.log(`${'first contentful paint'.padEnd(28)}${figures(found.map(({ painted }) => painted))}`);
  console.log(`${'the changes are painted'.padEnd(28)}${figures(found.map(({ listed }) => listed))}`);
  console.log(`rows on show: ${Math.min(...found.map(({ rows }) => rows))} and more`);
} finally {
  await browser.close();
  await pool.end();
  await system.stop();
  if (kept === undefined) await rm(folder, { recursive: true, force: true });
}
