import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** How long a step may take on a busy machine. */
const STEP_MS = 20_000;

/** A page of the browser that remembers what went wrong in it. */
export interface OpenedPage {
  page: Page;
  /** What the console, the scripts and the content security policy complained of. */
  troubles: string[];
  /** Goes to an address of the page's own and waits until it has its answers. */
  visit(path: string): Promise<void>;
  close(): Promise<void>;
}

export interface Look {
  width?: number;
  height?: number;
  scheme?: 'light' | 'dark';
}

/** Opens whochanged's page, by a token that is pasted as a user would. */
export async function openPage(
  browser: Browser,
  http: string,
  token: string,
  look: Look = {},
): Promise<OpenedPage> {
  const context = await browser.newContext({
    viewport: { width: look.width ?? 1280, height: look.height ?? 900 },
    colorScheme: look.scheme ?? 'light',
    reducedMotion: 'reduce',
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  const troubles: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') troubles.push(message.text());
  });
  page.on('pageerror', (error) => troubles.push(error.message));
  await page.goto(http);
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Open' }).click();
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  return {
    page,
    troubles,
    visit: async (path) => {
      await page.goto(http + path);
      await settled(page);
    },
    close: () => context.close(),
  };
}

/** Waits until nothing is asked any more, and what was answered is on show. What runs in the page is text: Node has no DOM. */
export async function settled(page: Page): Promise<void> {
  await page.locator('html[data-waiting="0"]').waitFor({ state: 'attached' });
  await page.evaluate('new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))');
}

interface Violation {
  id: string;
  impact: string | null;
  nodes: Array<{ target: string[] }>;
}

/** What axe finds that keeps somebody from using the page: each as `rule: where`. */
export async function seriousFindings(page: Page): Promise<string[]> {
  // By the debugger and not as a script of the page, which its policy would refuse.
  await page.evaluate(AXE);
  const violations = await page.evaluate<Violation[]>(
    `axe.run({ resultTypes: ['violations'] }).then((found) => found.violations)`,
  );
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`));
}

/** By how many pixels the page is wider than its window. */
export function sidewaysPixels(page: Page): Promise<number> {
  return page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth');
}
