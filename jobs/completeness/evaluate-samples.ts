import type { ClientBase } from 'pg';
import { evaluateCounters, type Interval, type Loss } from '../../core/completeness/counters.js';
import { parseMicros } from '../../core/timestamp.js';
import { type FoundGap, findOpenGaps, type OpenGap, reconcileGaps } from '../../store/completeness/gaps.js';
import {
  anchorSamples,
  countReceived,
  findSamples,
  findSourcesToCount,
  type StoredSample,
  saveIntervals,
} from '../../store/completeness/samples.js';

/**
 * What was sent has arrived after this, or has been dropped: 30 s of batching, five attempts of up to 30 s each, and 98 s
 * of waiting between them.
 */
export const SETTLE_MS = 300_000;
/** Samples around those in question, which sharpen what can be said of them. */
const CONTEXT_MS = 3 * 3_600_000;
/** Samples so old may still profit from new ones. */
const REVIEW_MS = 3_600_000;
/** Missing events may come so much later, from the spool or a second source. */
const GIVE_UP_MS = 8 * 86_400_000;
const SOONEST_RECOUNT_MS = 30_000;

/** Counts what came around the samples of each source, and says of the time between them what can be said. */
export async function evaluateSamples(client: ClientBase, clusterID: number, now: Date): Promise<number> {
  await anchorSamples(client, clusterID, new Date(now.getTime() - CONTEXT_MS));
  let rows = 0;
  for (const { sourceID, since } of await findSourcesToCount(client, clusterID, now)) {
    rows += await countReceived(client, clusterID, sourceID, now);
    const from = Math.min(Date.parse(since), now.getTime() - REVIEW_MS);
    await evaluateSource(client, clusterID, sourceID, from, now);
  }
  return rows;
}

async function evaluateSource(
  client: ClientBase,
  clusterID: number,
  sourceID: number,
  from: number,
  now: Date,
): Promise<void> {
  const samples = await findSamples(client, clusterID, sourceID, new Date(from - CONTEXT_MS), now);
  const { intervals, losses } = evaluateCounters(samples, (now.getTime() - SETTLE_MS) * 1000);
  const rows = samples.flatMap((sample, i) => {
    // The first ones are context only: what they were judged by is not here any more.
    if (Date.parse(sample.sampledAt) < from) return [];
    const interval = intervals[i]!;
    return [{ sampledAt: sample.sampledAt, interval, recountAt: recountAt(sample, interval, now) }];
  });
  const first = samples.find((sample) => Date.parse(sample.sampledAt) >= from);
  if (!first) return;
  const open = await findOpenGaps(client, clusterID, sourceID, 'events_missing');
  await client.query('begin');
  try {
    await saveIntervals(client, clusterID, sourceID, rows);
    await reconcileGaps(
      client,
      clusterID,
      'events_missing',
      gapsOf(sourceID, samples, intervals, losses, open).filter((gap) => gap.until > first.readSince),
      { sourceID, since: first.readSince },
      'late_arrival',
      now,
    );
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/** When it is worth to count again what came around a sample; null: never. */
function recountAt(sample: StoredSample, interval: Interval, now: Date): Date | null {
  const age = now.getTime() - Date.parse(sample.sampledAt);
  if (interval.verdict === 'complete' || age > GIVE_UP_MS) return null;
  const open = interval.verdict === 'incomplete' || interval.reason === 'in_flight';
  const due = sample.recountAt === null ? undefined : new Date(Date.parse(sample.recountAt));
  if (due !== undefined && due > now) return due;
  return open || (due !== undefined && age <= SETTLE_MS) ? later(age, settledAt(sample), now) : null;
}

function settledAt({ readUntil }: StoredSample): number {
  return readUntil / 1000 + SETTLE_MS;
}

/** Later each time, and right when nothing can come any more: what is judged then must have been counted then. */
function later(age: number, settled: number, now: Date): Date {
  const next = now.getTime() + Math.max(SOONEST_RECOUNT_MS, age / 2);
  return new Date(now.getTime() < settled ? Math.min(next, settled) : next);
}

/** A loss whose bounds have moved is still the gap that it was. */
function gapsOf(
  sourceID: number,
  samples: readonly StoredSample[],
  intervals: readonly Interval[],
  losses: readonly Loss[],
  open: OpenGap[],
): FoundGap[] {
  const known = open.map((gap) => ({
    ...gap,
    since: parseMicros(gap.since)!,
    until: parseMicros(gap.until)!,
  }));
  return losses.map(({ from, to, missingLeast, missingMost }) => {
    const since = samples[from]!.readSince;
    const until = samples[to]!.readUntil;
    const same = known.findIndex((gap) => gap.since < until && gap.until > since);
    const [taken] = same < 0 ? [] : known.splice(same, 1);
    const within = intervals.slice(from + 1, to + 1);
    const expected = within.reduce((sum, interval) => sum + (interval.expected ?? 0), 0);
    const errors: Record<string, number> = {};
    for (const interval of within)
      for (const [plugin, count] of Object.entries(interval.errors))
        errors[plugin] = (errors[plugin] ?? 0) + count;
    return {
      sourceID,
      subject: taken?.subject ?? `until ${samples[to]!.sampledAt}`,
      since,
      until,
      expected,
      received: missingLeast === missingMost ? expected - missingLeast : undefined,
      missing: missingLeast,
      evidence: { missingAtMost: missingMost, ...(Object.keys(errors).length > 0 && { errors }) },
    };
  });
}
