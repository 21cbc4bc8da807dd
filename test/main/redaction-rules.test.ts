import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { compileRedactionRules, DEFAULT_REDACTION_RULES } from '../../core/redact/rules.js';
import { readRedactionRules } from '../../main/redaction-rules.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whochanged-rules-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function rulesOf(text: string) {
  const path = join(folder, 'rules.yaml');
  await writeFile(path, text);
  return readRedactionRules(path);
}

it('adds the rules of a file to the defaults', async () => {
  const rules = await rulesOf(`
sensitiveNames: ['pin_code']
valuePatterns:
  - { name: Acme token, pattern: 'acme_[a-z0-9]{20}', hint: acme_ }
fields:
  - { group: example.com, resource: databases, path: 'spec.users[*].pin' }
`);
  expect(rules.sensitiveNames).toEqual([...DEFAULT_REDACTION_RULES.sensitiveNames, 'pin_code']);
  expect(rules.valuePatterns).toHaveLength(DEFAULT_REDACTION_RULES.valuePatterns.length + 1);
  expect(rules.safeNames).toEqual(DEFAULT_REDACTION_RULES.safeNames);
  expect(() => compileRedactionRules(rules)).not.toThrow();
});

it.each([
  ['sensitivNames: [a]', /sensitivNames: no such rule; there are sensitiveNames, /],
  ['sensitiveNames: pin', /sensitiveNames: must be array/],
  ['sensitiveNames: [1]', /sensitiveNames\/0: must be string/],
  ['fields: [{ resource: x }]', /fields\/0: /],
  ['- a', /expected a map of rules/],
  ['a: [', /it is not YAML in line 1/],
])('says what is wrong with %j', async (text, message) => {
  await expect(rulesOf(text)).rejects.toThrow(message);
});

it('takes an empty file for no rules of its own', async () => {
  expect(await rulesOf('')).toEqual(DEFAULT_REDACTION_RULES);
});
