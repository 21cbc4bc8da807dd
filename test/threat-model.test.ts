import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const document = readFileSync(join(ROOT, 'docs/threat-model.md'), 'utf8');
const threats = document.split('\n').filter((line) => /^\|.*\|.*\| `test\//.test(line));

it('names for every threat a test that there is', () => {
  expect(threats.length).toBeGreaterThan(40);
  for (const line of threats) {
    const [, file, title] = /\| `(test\/[\w./-]+\.test\.ts)`: "([^"]+)" \|$/.exec(line) ?? [];
    expect([line, title !== undefined]).toEqual([line, true]);
    expect([file, existsSync(join(ROOT, file!))]).toEqual([file, true]);
    const source = readFileSync(join(ROOT, file!), 'utf8').replaceAll("\\'", "'");
    // A title is the first thing in the call that makes the test.
    const called = [`'${title}'`, `"${title}"`, `\`${title}\``].some((text) => source.includes(text));
    expect([file, title, called]).toEqual([file, title, true]);
  }
});

it('leaves no row of its tables without one', () => {
  const tables = document.slice(document.indexOf('## Threats'), document.indexOf('## What remains'));
  const rows = tables.split('\n').filter((line) => /^\| (?!threat|---)/.test(line) && !/^\|-/.test(line));
  expect(rows.filter((row) => !threats.includes(row))).toEqual([]);
});
