import { expect, it } from 'vitest';
import { heapBytes, ParsedValues } from '../../core/parsed-values.js';
import { BodyCache } from '../../store/body-cache.js';

const digests = Array.from({ length: 40 }, (_, i) => `digest-${i}`);

it('keeps the bodies of many clusters in the memory of one, those that were needed last', () => {
  const parsed = new ParsedValues(10 * heapBytes(1000));
  const clusters = Array.from({ length: 20 }, () => new BodyCache(parsed));
  for (const digest of digests) {
    for (const cache of clusters) cache.put(digest, { digest }, 1000);
    expect(clusters[0]!.get(digest)).toBeUndefined();
    for (const cache of clusters.slice(10)) expect(cache.get(digest)).toEqual({ digest });
  }
  const held = clusters.flatMap((cache) => digests.filter((digest) => cache.get(digest) !== undefined));
  expect(held).toHaveLength(10);
});

it('gives one cluster no body that only another has', () => {
  const parsed = new ParsedValues(10_000);
  const [one, other] = [new BodyCache(parsed), new BodyCache(parsed)];
  one.put('digest-1', { a: 1 }, 10);
  expect([one.get('digest-1'), other.get('digest-1')]).toEqual([{ a: 1 }, undefined]);
});
