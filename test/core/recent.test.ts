import { expect, it } from 'vitest';
import { RecentMap, RecentSet } from '../../core/recent.js';

it('keeps what was used last, and never more than twice its size', () => {
  const map = new RecentMap<number, string>(100);
  for (let i = 0; i < 1050; i++) {
    map.set(i, `value ${i}`);
    // In use all the time.
    expect(map.get(0)).toBe('value 0');
    expect(map.entries).toBeLessThanOrEqual(200);
  }
  const last = Array.from({ length: 98 }, (_, i) => 1049 - i);
  expect([0, ...last].map((i) => map.get(i))).toEqual([0, ...last].map((i) => `value ${i}`));
  expect(map.get(700)).toBeUndefined();
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
