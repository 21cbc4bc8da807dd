import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatMicros, parseMicros } from '../../core/timestamp.js';

describe('parseMicros', () => {
  it.each([
    ['2024-05-01T10:00:00.123456Z', 1714557600123456],
    ['2024-05-01T10:00:00Z', 1714557600000000],
    ['2024-05-01T10:00:00.5Z', 1714557600500000],
    ['2024-05-01T10:00:00.1234567Z', 1714557600123456],
    ['2024-05-01T10:00:00.123456789Z', 1714557600123456],
    ['2024-05-01 10:00:00.123', 1714557600123000],
    ['2024-05-01T12:00:00.000001+02:00', 1714557600000001],
    ['2024-05-01T10:00:60Z', 1714557660000000],
    [1714557600.123456, 1714557600123456],
  ])('reads %s', (text, micros) => expect(parseMicros(text)).toBe(micros));

  it.each([
    undefined,
    null,
    '',
    'yesterday',
    '2024-13-01T00:00:00Z',
    '2024-05-01T10:00:75.000000Z',
    -1,
    Number.NaN,
    {},
  ])('refuses %s', (value) => expect(parseMicros(value)).toBeUndefined());

  it('gives back every microsecond', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4e15 }),
        fc.integer({ min: 0, max: 999_999 }),
        (base, fraction) => {
          const micros = base - (base % 1_000_000) + fraction;
          expect(parseMicros(formatMicros(micros))).toBe(micros);
        },
      ),
    );
  });
});
