import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dateIn, dayRange, mayHold, nextKey } from '../../../ingest/s3/key-dates.js';

const day = (text: string) => Date.parse(`${text}T00:00:00Z`);

describe('the day in a key', () => {
  it.each([
    ['AWSLogs/111122223333/2026/03/02/x.gz', '2026-03-02'],
    ['insights-logs-kube-audit/y=2026/m=03/d=02/h=09/m=00/PT1H.json', '2026-03-02'],
    ['ext/eventDay=20260302/part-0.gz', '2026-03-02'],
    ['year=2026/month=03/day=02/a', '2026-03-02'],
    ['dt=2026-03-02/a', '2026-03-02'],
    ['audit-2026-03-02T10-11-12.log.gz', '2026-03-02'],
    // The latest that is named: an older one is what keys are passed over by.
    ['archive/2024/01/01/audit-2026-03-02.log', '2026-03-02'],
    ['logs/2026/13/45/a', undefined],
    ['build-20261231999/a', undefined],
    ['plain/audit.log', undefined],
  ])('%s', (key, expected) => {
    expect(dateIn(key)?.day).toBe(expected === undefined ? undefined : day(expected));
  });
});

const WRITTEN = [
  (d: string) => `p/${d.replaceAll('-', '/')}/`,
  (d: string) => `p/dt=${d}/`,
  (d: string) => `p/eventDay=${d.replaceAll('-', '')}/`,
  (d: string) => `p/year=${d.slice(0, 4)}/month=${d.slice(5, 7)}/day=${d.slice(8)}/`,
];
const days = fc
  .integer({ min: 0, max: 4000 })
  .map((n) => new Date(Date.UTC(2020, 0, 1) + n * 86_400_000).toISOString().slice(0, 10));

it('passes over no key that may hold events of the range, however days are written', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...WRITTEN),
      fc.array(fc.tuple(days, fc.constantFrom('00-a', 'm', 'zz')), { minLength: 1, maxLength: 30 }),
      days,
      days,
      (write, parts, one, other) => {
        const [since, until] = [one, other].sort().map((text) => `${text}T07:00:00Z`);
        const range = dayRange(since, until);
        const keys = [...new Set(parts.map(([d, name]) => write(d) + name))].sort();
        const wanted = keys.filter((key) => mayHold({ key, lastModified: '2020-01-01T00:00:00Z' }, range));
        // A listing of one key a page.
        const seen: string[] = [];
        for (let after = ''; ; ) {
          const key = keys.find((item) => item > after);
          if (key === undefined) break;
          seen.push(key);
          after = nextKey(key, range);
        }
        expect(seen).toEqual(expect.arrayContaining(wanted));
        for (const d of [since!, until!]) {
          const exact = `${write(d.slice(0, 10))}x`;
          expect(mayHold({ key: exact, lastModified: d }, range)).toBe(true);
        }
      },
    ),
  );
});
