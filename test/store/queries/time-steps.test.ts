import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Span, spanOf, timeSteps } from '../../../store/queries/time-steps.js';

const NOW = Date.parse('2026-11-28T12:00:00Z');
const time = fc
  .integer({ min: Date.parse('2015-01-01'), max: Date.parse('2100-01-01') })
  .map((ms) => new Date(ms).toISOString());
const within = (span: Span, at: string) =>
  (span.since === undefined || Date.parse(at) >= Date.parse(span.since)) &&
  (span.until === undefined || Date.parse(at) < Date.parse(span.until));

it('every time that is asked for lies in one span, and the spans follow each other as the list does', () => {
  fc.assert(
    fc.property(
      fc.record({ since: fc.option(time, { nil: undefined }), until: fc.option(time, { nil: undefined }) }),
      fc.option(time, { nil: undefined }),
      fc.boolean(),
      fc.array(time, { maxLength: 20 }),
      fc.uniqueArray(fc.integer({ min: 1, max: 400 }), { maxLength: 3 }),
      (asked, cursor, ascending, times, days) => {
        const after = cursor === undefined ? undefined : { at: cursor, id: 'x' };
        const steps = timeSteps(
          asked,
          after,
          ascending,
          NOW,
          days.sort((a, b) => a - b),
        );
        for (const at of times) {
          const found = steps.filter((span) => within(span, at)).length;
          const isBehind = cursor === undefined || (ascending ? at >= cursor : at <= cursor);
          if (within(asked, at) && isBehind) expect(found).toBe(1);
          else expect(found).toBeLessThanOrEqual(within(asked, at) ? 1 : 0);
        }
        const sorted = [...times].sort();
        if (!ascending) sorted.reverse();
        const places = sorted
          .map((at) => steps.findIndex((span) => within(span, at)))
          .filter((place) => place >= 0);
        expect(places).toEqual([...places].sort());
      },
    ),
  );
});

it('a list of years begins with a month, and one of days is one span', () => {
  const ends = (steps: Span[]) => steps.map(({ since, until }) => `${since ?? ''}..${until ?? ''}`);
  expect(ends(timeSteps({}, undefined, false, NOW))).toEqual([
    '2026-10-28T12:00:00.000Z..',
    '..2026-10-28T12:00:00.000Z',
  ]);
  expect(ends(timeSteps({ until: '2026-03-01T00:00:00Z' }, undefined, false, NOW))).toEqual([
    '2026-01-29T00:00:00.000Z..2026-03-01T00:00:00Z',
    '..2026-01-29T00:00:00.000Z',
  ]);
  expect(ends(timeSteps({ since: '2026-01-01T00:00:00Z' }, undefined, true, NOW))).toEqual([
    '2026-01-01T00:00:00Z..2026-02-01T00:00:00.000Z',
    '2026-02-01T00:00:00.000Z..',
  ]);
  expect(ends(timeSteps({ since: '2026-11-01T00:00:00Z' }, undefined, false, NOW))).toHaveLength(1);
  expect(ends(timeSteps({}, undefined, true, NOW))).toEqual(['..']);
  expect(ends(timeSteps({ since: '2026-11-01T00:00:00Z' }, undefined, false, NOW, [1, 31]))).toEqual([
    '2026-11-27T12:00:00.000Z..',
    '2026-11-01T00:00:00Z..2026-11-27T12:00:00.000Z',
  ]);
});

it('the span of some times holds each of them, and no more than the millisecond that it ends with', () => {
  const micros = fc.integer({ min: 0, max: 999 }).map((n) => String(n).padStart(3, '0'));
  const precise = fc.tuple(time, micros).map(([at, more]) => at.replace('Z', `${more}Z`));
  fc.assert(
    fc.property(fc.array(precise, { minLength: 1, maxLength: 20 }), (times) => {
      const span = spanOf(times);
      const sorted = [...times].sort();
      for (const at of times) expect(within(span, at)).toBe(true);
      expect(Date.parse(span.since)).toBe(Date.parse(sorted[0]!));
      expect(Date.parse(span.until)).toBe(Date.parse(sorted.at(-1)!) + 1);
    }),
  );
  expect(spanOf([])).toEqual({ since: 'infinity', until: '-infinity' });
});
