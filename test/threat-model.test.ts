import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { namedTests, tableRows } from './harness/named-tests.js';

const document = readFileSync(join(import.meta.dirname, '../docs/threat-model.md'), 'utf8');

it('names for every threat a test that there is', () => {
  const threats = tableRows(document, '## Threats', '## What remains');
  expect(threats.length).toBeGreaterThan(40);
  for (const line of threats)
    expect([line, namedTests(line)]).toEqual([line, [expect.objectContaining({ exists: true })]]);
});
