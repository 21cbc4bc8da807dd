import { expect, it } from 'vitest';
import { RecentMap, RecentSet } from '../../core/recent.js';

it('keeps what was used last, and never more than twice its size', () => {
  const map = new RecentMap<number, string>(100);
  for (let i = 0; i < 1000; i++) {
    map.set(i, `value ${i}`);
    // In use all the time.
    expect(map.get(0)).toBe('value 0');
  }
  const kept = Array.from({ length: 1000 }, (_, i) => i).filter((i) => map.get(i) !== undefined);
  expect(kept.length).toBeLessThanOrEqual(200);
  expect(kept).toEqual(expect.arrayContaining([0, ...Array.from({ length: 99 }, (_, i) => 999 - i)]));
});

it('forgets what is deleted, in whichever generation it is', () => {
  const map = new RecentMap<string, number>(1);
  map.set('old', 1);
  map.set('young', 2);
  map.delete('old');
  map.delete('young');
  expect([map.get('old'), map.get('young')]).toEqual([undefined, undefined]);
});

it('tells members', () => {
  const set = new RecentSet<bigint>(2);
  for (const member of [1n, 2n, 3n, 4n, 5n]) set.add(member);
  expect([1n, 2n, 3n, 4n, 5n].filter((member) => set.has(member))).toEqual([3n, 4n, 5n]);
});
