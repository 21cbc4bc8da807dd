/** An alert that equal matches are counted by: those that happened from its first match on, for a while. */
export interface Gathered {
  /** Microseconds. */
  firstAt: number;
  countsUntil: number;
}

/**
 * The alert that counts a match, among those of its rule and key. One that comes late, from before the first match, is
 * counted too where it is as near to it.
 */
export function countingAlert<T extends Gathered>(alerts: readonly T[], at: number): T | undefined {
  return alerts.find(
    ({ firstAt, countsUntil }) => at < countsUntil && at > firstAt - (countsUntil - firstAt),
  );
}
