import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Progress } from '../../cli/render/progress.js';

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

/** What a stream was written, as stderr would be: a terminal or not. */
function stream(isTTY: boolean) {
  let written = '';
  const out = new Writable({
    write: (chunk, _encoding, done) => {
      written += chunk;
      done();
    },
  });
  const stderr = Object.assign(out, {
    isTTY,
    columns: 120,
    // What a bar asks of a terminal.
    cursorTo: () => true,
    clearLine: () => true,
    moveCursor: () => true,
  }) as unknown as NodeJS.WriteStream;
  return { stderr, text: () => written };
}

const MB = 1_000_000;

it('tells rate and time to go on a line every ten seconds where nobody watches', () => {
  const { stderr, text } = stream(false);
  const progress = new Progress('backfill 7', stderr);
  for (let second = 0; second <= 21; second++) {
    vi.setSystemTime(second * 1000);
    progress.update({ done: second * 2 * MB, total: 100 * MB, note: `${second} of 50 objects` });
  }
  progress.stop();
  expect(text().trim().split('\n')).toEqual([
    'backfill 7: 22% 22.0 MB of 100 MB, 2.0 MB/s, ETA 39s, 11 of 50 objects',
    'backfill 7: 42% 42.0 MB of 100 MB, 2.0 MB/s, ETA 29s, 21 of 50 objects',
  ]);
});

it('takes the rate of the last seconds, so that a pause is not reckoned for ever', () => {
  const { stderr, text } = stream(false);
  const progress = new Progress('import', stderr);
  for (const [second, done] of [
    [0, 0],
    [60, 1],
    [61, 11],
    [62, 21],
  ] as const) {
    vi.setSystemTime(second * 1000);
    progress.update({ done: done * MB, total: 121 * MB });
  }
  progress.stop();
  expect(text().trim().split('\n').at(-1)).toBe('import: 17% 21.0 MB of 121 MB, 10.0 MB/s, ETA 10s');
});

it('draws a bar on a terminal, and knows no end where there is none to know', () => {
  const terminal = stream(true);
  const bar = new Progress('import', terminal.stderr);
  vi.setSystemTime(1000);
  bar.update({ done: 0, total: 10 * MB });
  vi.setSystemTime(3000);
  bar.update({ done: 5 * MB, total: 10 * MB });
  bar.stop();
  expect(terminal.text()).toMatch(/import \[=+-*.*\] 50% 5\.0 MB of 10\.0 MB, 2\.5 MB\/s, ETA 2\.0s/);

  const piped = stream(false);
  const unknown = new Progress('import', piped.stderr);
  unknown.update({ done: 0, total: undefined });
  vi.setSystemTime(4000);
  unknown.update({ done: 3 * MB, total: undefined });
  unknown.stop();
  expect(piped.text()).toBe('import: 3.0 MB, 3.0 MB/s\n');
});
