import type { RecordedChange } from './attribution.js';

/** Clocks of apiservers are taken to agree within this, in microseconds. */
export const CLOCK_TOLERANCE = 2_000_000;

export interface Precedence {
  by: 'resource_version' | 'time' | 'time_within_tolerance';
  /** Seconds by which the times contradict the revisions. */
  clockSkewSeconds?: number;
}

/**
 * How it is known that one change happened before another; undefined when it didn't, or may not have.
 * Revisions are etcd's, one sequence for the whole cluster, so they decide across objects and apiservers. Where one of
 * the two has none, times do, and they may be a little off.
 */
export function precedes(cause: RecordedChange, effect: RecordedChange): Precedence | undefined {
  if (effect.exactRV && cause.orderRV > 0n) {
    // A cause without its own revision stands after its orderRV, which is that of the version before it.
    if (cause.orderRV >= effect.orderRV) return undefined;
    if (cause.exactRV) return byRevision(cause, effect);
  }
  if (!effect.exactRV && cause.exactRV && effect.orderRV >= cause.orderRV) return byRevision(cause, effect);
  if (cause.at <= effect.at) return { by: 'time' };
  return cause.at <= effect.at + CLOCK_TOLERANCE ? { by: 'time_within_tolerance' } : undefined;
}

function byRevision(cause: RecordedChange, effect: RecordedChange): Precedence {
  const late = cause.at - effect.at;
  if (late <= 0) return { by: 'resource_version' };
  return { by: 'resource_version', clockSkewSeconds: Math.ceil(late / 1e5) / 10 };
}

/** Whether `a` is the later of two changes: by revision where both are known, else by time. */
export function isLater(a: RecordedChange, b: RecordedChange): boolean {
  if (a.exactRV && b.exactRV && a.orderRV !== b.orderRV) return a.orderRV > b.orderRV;
  return a.at > b.at;
}

export function latest(changes: Iterable<RecordedChange>): RecordedChange | undefined {
  let found: RecordedChange | undefined;
  for (const change of changes) if (!found || isLater(change, found)) found = change;
  return found;
}

export function earliest(changes: Iterable<RecordedChange>): RecordedChange | undefined {
  let found: RecordedChange | undefined;
  for (const change of changes) if (!found || isLater(found, change)) found = change;
  return found;
}
