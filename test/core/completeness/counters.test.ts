import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CounterSample, evaluateCounters } from '../../../core/completeness/counters.js';

/** An event as the apiserver generated it. `stamp` is its stageTimestamp, `at` when it was counted. */
interface Generated {
  at: number;
  stamp: number;
  received: boolean;
}

interface Look {
  at: number;
  /** How much before and after `at` the borders are. */
  early: number;
  late: number;
}

const MARGIN = 3;
const SPACING = 40;

/** What an observer of that world would have written down; samples must lie further apart than their borders. */
function observe(events: Generated[], looks: Look[], restarts: number[]): CounterSample[] {
  let before = Number.NEGATIVE_INFINITY;
  return looks.map(({ at, early, late }) => {
    const started = Math.max(0, ...restarts.filter((time) => time <= at));
    const readSince = at - early;
    const readUntil = at + late;
    const slice = events.filter(
      (event) => event.received && event.stamp > before && event.stamp <= readUntil,
    );
    before = readUntil;
    return {
      readSince,
      readUntil,
      processStartedAt: started * 10_000_000,
      events: events.filter((event) => event.at > started && event.at <= at).length,
      errors: {},
      received: {
        certain: slice.filter((event) => event.stamp <= readSince - MARGIN).length,
        possible: slice.length,
      },
    };
  });
}

function missingIn(events: Generated[], since: number, until: number): number {
  return events.filter((event) => !event.received && event.at > since && event.at <= until).length;
}

const LENGTH = 600;
const world = fc.record({
  events: fc.array(
    fc.record({ at: fc.nat(LENGTH), delay: fc.nat(MARGIN), dropped: fc.integer({ min: 0, max: 9 }) }),
    { maxLength: 120 },
  ),
  // Some looks fail: the next one then covers more.
  looks: fc.array(fc.record({ early: fc.nat(8), late: fc.nat(8), failed: fc.boolean() }), {
    minLength: 2,
    maxLength: LENGTH / SPACING,
  }),
  restarts: fc.array(fc.nat(LENGTH), { maxLength: 2 }),
  dropShare: fc.nat(9),
});

function build({
  events,
  looks,
  restarts,
  dropShare,
}: typeof world extends fc.Arbitrary<infer T> ? T : never) {
  const generated = events.map(({ at, delay, dropped }) => ({
    at,
    stamp: at - delay,
    received: dropped >= dropShare,
  }));
  const taken = looks.flatMap(({ early, late, failed }, i) =>
    failed ? [] : [{ at: 20 + i * SPACING, early, late }],
  );
  return { generated, taken, samples: observe(generated, taken, restarts) };
}

describe('evaluateCounters', () => {
  it('never calls complete what misses an event, whatever restarts, looks that fail, and unsharp borders', () => {
    fc.assert(
      fc.property(world, fc.nat(LENGTH), (parts, settledUntil) => {
        const { generated, taken, samples } = build(parts);
        const { intervals, losses } = evaluateCounters(samples, settledUntil);
        for (const [i, interval] of intervals.entries()) {
          if (interval.missingLeast === undefined) continue;
          const missing = missingIn(generated, taken[i - 1]!.at, taken[i]!.at);
          expect(interval.missingLeast).toBeLessThanOrEqual(missing);
          expect(interval.missingMost).toBeGreaterThanOrEqual(missing);
          if (interval.verdict === 'complete') expect(missing).toBe(0);
          if (interval.verdict === 'incomplete')
            expect(samples[i]!.readUntil).toBeLessThanOrEqual(settledUntil);
        }
        for (const loss of losses) {
          const missing = missingIn(generated, taken[loss.from]!.at, taken[loss.to]!.at);
          expect(loss.missingLeast).toBeGreaterThan(0);
          expect(loss.missingLeast).toBeLessThanOrEqual(missing);
          expect(loss.missingMost).toBeGreaterThanOrEqual(missing);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('finds every single loss, and all else complete, where borders are sharp', () => {
    fc.assert(
      fc.property(world, (parts) => {
        const sharp = {
          ...parts,
          events: parts.events.map((event) => ({ ...event, delay: 0, at: event.at - (event.at % SPACING) })),
          looks: parts.looks.map((look) => ({ ...look, early: 5, late: 5 })),
        };
        const { generated, taken, samples } = build(sharp);
        const { intervals, losses } = evaluateCounters(samples, Number.POSITIVE_INFINITY);
        for (const [i, interval] of intervals.entries()) {
          if (interval.reason === 'first_sample' || interval.reason === 'restarted') continue;
          const missing = missingIn(generated, taken[i - 1]!.at, taken[i]!.at);
          expect(interval).toMatchObject({
            verdict: missing === 0 ? 'complete' : 'incomplete',
            missingLeast: missing,
            missingMost: missing,
            received: interval.expected! - missing,
          });
          expect(losses.some(({ from, to }) => from < i && i <= to)).toBe(missing > 0);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('comes to the same whatever order events were received in', () => {
    fc.assert(
      fc.property(world, fc.integer(), (parts, seed) => {
        const { generated, taken } = build(parts);
        const shuffled = [...generated].sort((a, b) => ((a.at * 31 + seed) % 17) - ((b.at * 31 + seed) % 17));
        expect(observe(shuffled, taken, parts.restarts)).toEqual(observe(generated, taken, parts.restarts));
      }),
      { numRuns: 100 },
    );
  });
});

const SECOND = 1_000_000;

/** One sample a minute of a process that is `started`; a slice of received events for each. */
function minutes(
  rows: Array<Partial<Omit<CounterSample, 'received'>> & { events: number; received?: [number, number] }>,
): CounterSample[] {
  return rows.map(({ received = [10, 10], ...row }, i) => ({
    readSince: i * 60 * SECOND,
    readUntil: i * 60 * SECOND + SECOND,
    processStartedAt: 5,
    errors: {},
    ...row,
    received: { certain: received[0], possible: received[1] },
  }));
}

const verdicts = (samples: CounterSample[], settledUntil = Number.POSITIVE_INFINITY) =>
  evaluateCounters(samples, settledUntil).intervals.map(({ verdict, reason }) => reason ?? verdict);

describe('what an interval is', () => {
  it('is complete where as many came as were counted, and borders are quiet', () => {
    expect(verdicts(minutes([{ events: 100 }, { events: 110 }, { events: 120 }]))).toEqual([
      'first_sample',
      'complete',
      'complete',
    ]);
  });

  it('is complete though two samples alone would leave it open: later ones tell', () => {
    // Three events lie in the border of the second sample; the third shows that none of them is missing.
    const samples = minutes([
      { events: 100 },
      { events: 110, received: [8, 11] },
      { events: 120, received: [9, 9] },
    ]);
    expect(verdicts(samples.slice(0, 2))).toEqual(['first_sample', 'borders']);
    expect(verdicts(samples)).toEqual(['first_sample', 'complete', 'complete']);
  });

  it('is incomplete once its events had time to come', () => {
    const samples = minutes([{ events: 100 }, { events: 110 }, { events: 125, received: [12, 12] }]);
    expect(verdicts(samples, 121 * SECOND)).toEqual(['first_sample', 'complete', 'incomplete']);
    expect(verdicts(samples, 120 * SECOND)).toEqual(['first_sample', 'complete', 'in_flight']);
    const { losses } = evaluateCounters(samples, Number.POSITIVE_INFINITY);
    expect(losses).toEqual([{ from: 1, to: 2, missingLeast: 3, missingMost: 3 }]);
  });

  it('makes one loss of an outage, not one for each minute', () => {
    const samples = minutes([
      { events: 100 },
      ...[110, 120, 130].map((events) => ({ events, received: [0, 0] as [number, number] })),
      { events: 140 },
    ]);
    expect(evaluateCounters(samples, Number.POSITIVE_INFINITY).losses).toEqual([
      { from: 0, to: 3, missingLeast: 30, missingMost: 30 },
    ]);
  });

  it('finds a loss that no single interval can be blamed for', () => {
    const samples = minutes([
      { events: 100 },
      { events: 110, received: [8, 10] },
      { events: 121, received: [10, 10] },
      { events: 131, received: [10, 10] },
    ]);
    // The eleventh of the second minute may be one of the two at the border before it.
    const { intervals, losses } = evaluateCounters(samples, Number.POSITIVE_INFINITY);
    expect(losses).toEqual([{ from: 0, to: 2, missingLeast: 1, missingMost: 1 }]);
    expect(intervals.map(({ verdict }) => verdict)).toEqual([
      'unknown',
      'incomplete',
      'incomplete',
      'complete',
    ]);
  });

  it('is incomplete where the apiserver says that it lost events, and its numbers leave it open', () => {
    const errors = (buffered: number) => ({ buffered });
    const samples = minutes([
      { events: 100, errors: errors(0) },
      { events: 110, errors: errors(2), received: [8, 11] },
    ]);
    const { intervals, losses } = evaluateCounters(samples, Number.POSITIVE_INFINITY);
    expect(intervals[1]).toMatchObject({
      verdict: 'incomplete',
      errors: { buffered: 2 },
      missingLeast: 0,
      missingMost: 2,
    });
    expect(losses).toEqual([{ from: 0, to: 1, missingLeast: 0, missingMost: 2 }]);
    // Its log file's troubles are not ours.
    expect(verdicts(samples.map((sample, i) => ({ ...sample, errors: { log: i } })))).toEqual([
      'first_sample',
      'borders',
    ]);
    // All came: the answer to a batch was lost on its way back.
    expect(verdicts(minutes([{ events: 100 }, { events: 110, errors: { webhook: 10 } }]))).toEqual([
      'first_sample',
      'complete',
    ]);
  });

  it('is unknown across a restart, and known again after it', () => {
    const samples = minutes([
      { events: 100 },
      { events: 7, processStartedAt: 50 * SECOND, received: [17, 17] },
      { events: 17, processStartedAt: 50 * SECOND },
      // The start time of one process wanders by a second.
      { events: 27, processStartedAt: 51 * SECOND },
    ]);
    expect(verdicts(samples)).toEqual(['first_sample', 'restarted', 'complete', 'complete']);
  });

  it('is unknown where the counter falls, where several processes answer, where others feed the source', () => {
    expect(verdicts(minutes([{ events: 100 }, { events: 90 }, { events: 100 }]))).toEqual([
      'first_sample',
      'counter_fell',
      'complete',
    ]);
    const turns = [{ events: 100 }, { events: 9, processStartedAt: 99 * SECOND }, { events: 120 }];
    expect(verdicts(minutes(turns))).toEqual(['several_processes', 'several_processes', 'several_processes']);
    expect(verdicts(minutes([{ events: 100 }, { events: 105 }, { events: 115 }]))).toEqual([
      'first_sample',
      'more_received_than_counted',
      'more_received_than_counted',
    ]);
  });

  it('is unknown until what was received has been counted', () => {
    const [first, second, third] = minutes([{ events: 100 }, { events: 110 }, { events: 120 }]);
    const uncounted = { ...second!, received: undefined };
    expect(verdicts([first!, uncounted, third!])).toEqual(['first_sample', 'not_counted', 'not_counted']);
  });
});
