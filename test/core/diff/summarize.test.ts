import { expect, it } from 'vitest';
import type { FieldChange } from '../../../core/diff/diff.js';
import { summarizeChanges } from '../../../core/diff/summarize.js';

const change = (path: string, op: FieldChange['op'], before?: unknown, after?: unknown): FieldChange =>
  ({
    path,
    op,
    certainty: 'exact',
    ...(before !== undefined && { before }),
    ...(after !== undefined && { after }),
  }) as FieldChange;

const IMAGE = 'spec.template.spec.containers[web].image';

it.each([
  [change(IMAGE, 'replace', 'web:1', 'web:2'), 'image web: web:1 → web:2'],
  [change('spec.replicas', 'replace', 2, 5), 'replicas: 2 → 5'],
  [change('metadata.labels.tier', 'add', undefined, 'front'), '+label tier=front'],
  [
    change('spec.template.spec.containers[web].env[LEVEL].value', 'replace', 'a', 'b'),
    'env web/LEVEL: a → b',
  ],
  [change('data["app.properties"]', 'remove', 'x'), '-data app.properties'],
  [change('rules[0].verbs[2]', 'add', undefined, 'watch'), '+verb watch'],
  [change('rules[0].verbs[2]', 'remove', 'watch'), '-verb watch'],
  [change('spec.colours[1]', 'replace', 'green', 'blue'), 'colours[1]: green → blue'],
  [change('spec.args[0]', 'add', undefined, '[redacted:0123456789abcdef]'), 'args[0] added (redacted)'],
])('%j reads %s', (field, sentence) => {
  expect(summarizeChanges('update', [field], {}, [])).toBe(sentence);
});

it('names the first fields and counts the rest', () => {
  const fields = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => change(`spec.${name}`, 'replace', 1, 2));
  expect(summarizeChanges('update', fields, {}, [])).toBe('a: 1 → 2; b: 1 → 2; c: 1 → 2; d: 1 → 2; +2 more');
});
