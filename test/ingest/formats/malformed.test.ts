import fc from 'fast-check';
import { expect, it } from 'vitest';
import { accept, SAMPLES } from './envelopes.js';

const ODD = [
  null,
  0,
  -1.5,
  1e300,
  true,
  '',
  'x',
  '{',
  '{}',
  '[{"kind":"Event"}]',
  [],
  [[1]],
  {},
  { a: { b: [1] } },
  '\ud800\0',
];

/** Every place in a JSON value, as what sets it. */
function places(
  value: unknown,
  set: (odd: unknown) => void = () => undefined,
): Array<(odd: unknown) => void> {
  if (typeof value !== 'object' || value === null) return [set];
  const object = value as Record<string, unknown>;
  return [set, ...Object.keys(object).flatMap((key) => places(object[key], (odd) => (object[key] = odd)))];
}

const records = SAMPLES.flatMap(({ format, bytes }) =>
  bytes
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .replaceAll('}{', '}\n{')
    .split(/\r?\n/)
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .flatMap((line) => {
      try {
        JSON.parse(line);
        return [{ format, line }];
      } catch {
        return [];
      }
    }),
);

it('never fails an object for what a record holds, and accounts for every record', () => {
  expect(new Set(records.map(({ format }) => format)).size).toBeGreaterThanOrEqual(7);
  fc.assert(
    fc.property(
      fc.constantFrom(...records),
      fc.nat(),
      fc.constantFrom(...ODD),
      ({ format, line }, at, odd) => {
        const value: unknown = JSON.parse(line);
        const all = places(value);
        all[1 + (at % (all.length - 1))]!(odd);
        const body = Buffer.from(`${JSON.stringify(value)}\n${line}\n`);
        const whole = accept(Buffer.from(`${line}\n`), format);
        const taken = accept(body, format);
        const count = ({ accepted, rejections, skipped }: typeof taken) =>
          accepted.length + rejections.length + Object.values(skipped!).reduce((sum, n) => sum + n, 0);
        // The good record counts as it does alone; the odd one, where it is not an empty list, is something too.
        expect(taken.accepted.length).toBeGreaterThanOrEqual(whole.accepted.length);
        expect(count(taken)).toBeGreaterThanOrEqual(count(whole));
      },
    ),
    { numRuns: 500 },
  );
});
