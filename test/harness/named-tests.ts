import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const NAMED = /`(test\/[\w./-]+\.test\.ts)`: "([^"]+)"/g;
/** Its tests bear the names of actions. */
const SESSION = 'test/golden-session.test.ts';
const ACTIONS = ['actions.yaml', 'actions-mixed-levels.yaml'].map((file) =>
  readFileSync(join(ROOT, 'test/fixtures/session', file), 'utf8'),
);

export interface NamedTest {
  file: string;
  title: string;
  exists: boolean;
}

/** The tests that a line of a document names, by file and title, and whether there are such. */
export function namedTests(line: string): NamedTest[] {
  return [...line.matchAll(NAMED)].map(([, file, title]) => ({
    file: file!,
    title: title!,
    exists: existsSync(join(ROOT, file!)) && isCalled(file!, title!),
  }));
}

function isCalled(file: string, title: string): boolean {
  if (file === SESSION && ACTIONS.some((text) => text.includes(`- id: ${title}\n`))) return true;
  const source = readFileSync(join(ROOT, file), 'utf8').replaceAll("\\'", "'");
  // A title is the first thing in the call that makes the test.
  return [`'${title}'`, `"${title}"`, `\`${title}\``].some((text) => source.includes(text));
}

/** The rows of a document's tables, without their heads, between two of its headings or to its end. */
export function tableRows(document: string, from: string, to?: string): string[] {
  const part = document.slice(document.indexOf(from), to === undefined ? undefined : document.indexOf(to));
  const lines = part.split('\n').filter((line) => line.startsWith('|'));
  const rule = /^\|[-|]+\|$/;
  return lines.filter((line, i) => !rule.test(line) && !rule.test(lines[i + 1] ?? ''));
}
