import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FORMATS } from '../../../ingest/formats/format.js';
import { accept, ENVELOPES, normalized, SAMPLES } from './envelopes.js';

it('has samples of every format', () => {
  expect(new Set(SAMPLES.map(({ format }) => format))).toEqual(new Set(FORMATS));
});

it('has a sample to each golden form, that none is read no more for want of one', () => {
  const goldens = readdirSync(ENVELOPES, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.golden.json'),
  );
  expect(goldens.sort()).toEqual(SAMPLES.map(({ path }) => goldenOf(path)).sort());
});

const goldenOf = (path: string) => path.replace(/\.\w+$/, '.golden.json');

describe.each(SAMPLES)('$path', ({ format, path, bytes }) => {
  it('is read as its golden form says', async () => {
    const taken = accept(bytes, 'auto');
    expect(taken).toMatchObject({ format, empty: false });
    const text = `${JSON.stringify(normalized(taken), null, 2)}\n`;
    await expect(text).toMatchFileSnapshot(join(ENVELOPES, goldenOf(path)));
    expect(text).not.toMatch(/c3ludGhldGljLXBhc3N3b3Jk|synthetic-password/);
  });

  it('is read the same when it is named, and wherever it is cut into pieces', () => {
    const whole = normalized(accept(bytes, 'auto'));
    expect(normalized(accept(bytes, format))).toEqual(whole);
    expect(normalized(accept(bytes, 'auto', Array.from(bytes.keys())))).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 20 }), (cuts) => {
        expect(normalized(accept(bytes, 'auto', cuts))).toEqual(whole);
      }),
      { numRuns: 15 },
    );
  });
});
