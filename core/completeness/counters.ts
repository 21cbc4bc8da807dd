/**
 * What an apiserver counted against what was received of it.
 *
 * The counter of events goes up right before an event is handed to the audit backend, so everything that can lose an
 * event comes after it. Let M(t) be the number of events that the apiserver had generated up to t and that are not
 * here. M never falls. A sample's counter was read at some time s that is known only to lie within [readSince,
 * readUntil] of the apiserver's own clock, so for a constant of the process
 *
 *     events - receivedPossible  <=  constant + M(s)  <=  events - receivedCertain
 *
 * where receivedCertain counts the received events that were counted by then for certain, and receivedPossible those
 * that may have been. Since M never falls, what any sample says bounds all before it from above and all after it from
 * below. That sharpens the bounds far beyond what two samples alone would give, without ever assuming that clocks or
 * borders are exact. "Complete" is said only where the upper bound is 0.
 */

/** One look at the counters. Times are microseconds; counts are since the sample before. */
export interface CounterSample {
  readSince: number;
  readUntil: number;
  processStartedAt: number;
  events: number;
  errors: Record<string, number>;
  /** Received between the readUntil of the sample before and this one's; undefined: not counted yet. */
  received: { certain: number; possible: number } | undefined;
}

/** Why nothing can be said of an interval. */
export const UNKNOWN_REASONS = [
  /** Before the first sample there is nothing to compare with. */
  'first_sample',
  /** The apiserver started anew: what its predecessor had not sent, and this one counted before, is not known. */
  'restarted',
  /** The counter fell without a restart. */
  'counter_fell',
  /** Answers came from processes by turns: a load balancer, not one apiserver. */
  'several_processes',
  /** More was received than counted: something else feeds this source too, or the counters are another apiserver's. */
  'more_received_than_counted',
  /** Events may still be on their way. */
  'in_flight',
  /** What happened right when the counters were read leaves it open. */
  'borders',
  /** What was received has not been counted yet. */
  'not_counted',
] as const;
export type UnknownReason = (typeof UNKNOWN_REASONS)[number];

export const COMPLETENESS_VERDICTS = ['complete', 'incomplete', 'unknown'] as const;
export type CompletenessVerdict = (typeof COMPLETENESS_VERDICTS)[number];

/** What is known of the time between two samples. */
export interface Interval {
  verdict: CompletenessVerdict;
  reason: UnknownReason | undefined;
  /** Events that the apiserver counted, and those that were received; undefined across a restart. */
  expected: number | undefined;
  received: number | undefined;
  /** How many are missing: at least, and at most. Undefined: nobody can tell. */
  missingLeast: number | undefined;
  missingMost: number | undefined;
  /** Events that the apiserver says it failed to deliver, by plugin; only those that went up. */
  errors: Record<string, number>;
}

/** A stretch of samples in which events are missing for certain: in the intervals that end at (from, to]. */
export interface Loss {
  from: number;
  to: number;
  missingLeast: number;
  missingMost: number;
}

/** process_start_time_seconds wanders by up to a second: it is computed from the time since boot. */
const SAME_PROCESS_MICROS = 2_500_000;
/** Those plugins stand between the counter and the webhook. The log backend's failures are not ours. */
const DELIVERY_PLUGINS = new Set(['buffered', 'webhook', 'truncate']);

/**
 * Evaluates samples in the order they were taken: one interval for each, which ends at it, and where events are lost.
 * What was read after `settledUntil` is never called incomplete: its events may still come.
 */
export function evaluateCounters(
  samples: readonly CounterSample[],
  settledUntil: number,
): { intervals: Interval[]; losses: Loss[] } {
  const intervals = samples.map((sample, i) => intervalBefore(samples[i - 1], sample));
  if (findTurns(samples)) {
    for (const interval of intervals) interval.reason = 'several_processes';
    return { intervals, losses: [] };
  }
  const losses: Loss[] = [];
  for (let from = 0; from < samples.length; ) {
    let to = from + 1;
    while (to < samples.length && intervals[to]!.reason === undefined) to++;
    const bounds = boundChain(samples.slice(from, to));
    for (let i = from + 1; i < to; i++) {
      if (bounds) judge(intervals[i]!, bounds, i - from, samples[i]!.readUntil <= settledUntil);
      else intervals[i]!.reason = 'more_received_than_counted';
    }
    const settled = samples.slice(from, to).filter(({ readUntil }) => readUntil <= settledUntil).length;
    if (bounds) losses.push(...findLosses(bounds, settled).map((loss) => shift(loss, from)));
    from = to;
  }
  for (const { from, to } of losses) {
    for (const interval of intervals.slice(from + 1, to + 1)) {
      if (interval.verdict === 'unknown')
        Object.assign(interval, { verdict: 'incomplete', reason: undefined });
    }
  }
  return { intervals, losses: [...losses, ...untoldLosses(intervals, losses)] };
}

function shift(loss: Loss, by: number): Loss {
  return { ...loss, from: loss.from + by, to: loss.to + by };
}

/** Where the apiserver says that it lost events, and its numbers leave open which. */
function untoldLosses(intervals: readonly Interval[], losses: readonly Loss[]): Loss[] {
  return intervals.flatMap((interval, to) =>
    interval.verdict !== 'incomplete' || losses.some((loss) => loss.from < to && to <= loss.to)
      ? []
      : [{ from: to - 1, to, missingLeast: interval.missingLeast!, missingMost: interval.missingMost! }],
  );
}

function nothingKnown(reason: UnknownReason, errors: Record<string, number> = {}): Interval {
  return {
    verdict: 'unknown',
    reason,
    expected: undefined,
    received: undefined,
    missingLeast: undefined,
    missingMost: undefined,
    errors,
  };
}

/** What two samples alone say; its reason is undefined where their counters can be compared. */
function intervalBefore(before: CounterSample | undefined, sample: CounterSample): Interval {
  if (!before) return nothingKnown('first_sample');
  if (Math.abs(sample.processStartedAt - before.processStartedAt) > SAME_PROCESS_MICROS)
    return nothingKnown('restarted', positive(sample.errors));
  if (sample.events < before.events) return nothingKnown('counter_fell');
  const errors = positive(
    Object.fromEntries(
      Object.entries(sample.errors).map(([plugin, count]) => [plugin, count - (before.errors[plugin] ?? 0)]),
    ),
  );
  if (!before.received || !sample.received) return nothingKnown('not_counted', errors);
  return {
    ...nothingKnown('borders', errors),
    reason: undefined,
    expected: sample.events - before.events,
    received: sample.received.possible,
  };
}

function positive(errors: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(errors).filter(([, count]) => count > 0));
}

/** Whether an older process answers again after a newer one. */
function findTurns(samples: readonly CounterSample[]): boolean {
  let newest = Number.NEGATIVE_INFINITY;
  for (const { processStartedAt } of samples) {
    if (processStartedAt < newest - SAME_PROCESS_MICROS) return true;
    newest = Math.max(newest, processStartedAt);
  }
  return false;
}

/** Bounds on constant + M at each sample of one process. */
interface Bounds {
  least: number[];
  most: number[];
}

/** Undefined where the samples contradict each other: M would have to fall. Each of them has been counted. */
function boundChain(samples: readonly CounterSample[]): Bounds | undefined {
  const least: number[] = [];
  const most: number[] = [];
  let possible = 0;
  for (const { events, received } of samples) {
    // Only a chain of one can hold a sample that has not been counted, and nothing is asked of that.
    most.push(events - possible - (received?.certain ?? 0));
    possible += received?.possible ?? 0;
    least.push(events - possible);
  }
  for (let i = 1; i < least.length; i++) least[i] = Math.max(least[i]!, least[i - 1]!);
  for (let i = most.length - 2; i >= 0; i--) most[i] = Math.min(most[i]!, most[i + 1]!);
  return least.every((value, i) => value <= most[i]!) ? { least, most } : undefined;
}

function between({ least, most }: Bounds, from: number, to: number): { least: number; most: number } {
  return { least: Math.max(0, least[to]! - most[from]!), most: most[to]! - least[from]! };
}

function judge(interval: Interval, bounds: Bounds, to: number, settled: boolean): void {
  const missing = between(bounds, to - 1, to);
  interval.missingLeast = missing.least;
  interval.missingMost = missing.most;
  if (missing.least === missing.most) interval.received = interval.expected! - missing.least;
  const failed = Object.keys(interval.errors).some((plugin) => DELIVERY_PLUGINS.has(plugin));
  if (missing.most === 0) interval.verdict = 'complete';
  else if (!settled) interval.reason = 'in_flight';
  else if (missing.least > 0 || failed) interval.verdict = 'incomplete';
  else interval.reason = 'borders';
}

/** The shortest stretches, one after the other, in which something is missing for certain; of the first `count` samples. */
function findLosses(bounds: Bounds, count: number): Loss[] {
  const losses: Loss[] = [];
  let start = 0;
  for (let to = 1; to < count; to++) {
    if (between(bounds, start, to).least === 0) continue;
    let from = to - 1;
    while (between(bounds, from, to).least === 0) from--;
    // Neighbours are one stretch: an outage is one gap, not one for each minute.
    const last = losses.at(-1);
    if (last && last.to >= from) from = losses.pop()!.from;
    const missing = between(bounds, from, to);
    losses.push({ from, to, missingLeast: missing.least, missingMost: missing.most });
    start = to;
  }
  return losses;
}
