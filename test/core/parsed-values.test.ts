import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { Traffic } from '../../bench/traffic.js';
import type { Json } from '../../core/audit-event.js';
import { heapBytes, ParsedValues } from '../../core/parsed-values.js';

/** The bodies of a recorded cluster's answers, as texts. */
function bodies(): string[] {
  return new Traffic().session(1).flatMap((line) => {
    const { responseObject } = JSON.parse(line) as { responseObject?: Json };
    return responseObject === undefined ? [] : [JSON.stringify(responseObject)];
  });
}

it('takes as much of the heap as it is allowed, told from the lengths of texts', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const heap = () => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const texts = bodies();
  const wanted = texts.reduce((sum, text) => sum + heapBytes(text.length), 0);
  const allowed = wanted / 2;
  const parsed = new ParsedValues(allowed);
  const before = heap();
  for (const [i, text] of texts.entries()) parsed.put(`${i}`, JSON.parse(text) as Json, text.length);
  const taken = heap() - before;
  expect(taken / allowed).toBeGreaterThan(0.6);
  expect(taken / allowed).toBeLessThan(1.4);
  expect(parsed.get(`${texts.length - 1}`)).toEqual(JSON.parse(texts.at(-1)!));
  expect(parsed.get('0')).toBeUndefined();
});

it('does not let one large value take the place of all others', () => {
  const parsed = new ParsedValues(100_000);
  parsed.put('small', 1, 1);
  parsed.put('large', 2, 40_000);
  expect([parsed.get('small'), parsed.get('large')]).toEqual([1, undefined]);
});
