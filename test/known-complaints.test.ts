import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { namedTests, tableRows } from './harness/named-tests.js';

const document = readFileSync(join(import.meta.dirname, '../docs/known-complaints.md'), 'utf8');

it('names for every complaint tests that there are', () => {
  const complaints = tableRows(document, '# ');
  expect(complaints.length).toBeGreaterThanOrEqual(11);
  for (const line of complaints) {
    const named = namedTests(line);
    expect([line, named.length > 0, named.filter(({ exists }) => !exists)]).toEqual([line, true, []]);
  }
});
