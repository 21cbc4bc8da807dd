/** A day in a key, with what stands before it and how it is written. */
export interface KeyDate {
  head: string;
  /** Milliseconds since the epoch at 00:00 UTC. */
  day: number;
  /** The same head with another day: where that day's keys begin. */
  keyOf(day: number): string;
}

const DAY_MS = 86_400_000;
/** Later than any key, in each of the forms. */
export const AFTER_ALL_DAYS = Date.UTC(9999, 11, 31);

const YEAR = '(20\\d{2})';
const MONTH = '(0[1-9]|1[0-2])';
const DAY = '(0[1-9]|[12]\\d|3[01])';

/** How dates stand in keys, each so that the order of the letters is the order of time. */
const FORMS: Array<{
  pattern: RegExp;
  write: (match: RegExpMatchArray, y: string, m: string, d: string) => string;
}> = [
  {
    // Hive partitions: year=2026/month=03/day=02, y=2026/m=03/d=02 (Athena, Azure's insights-logs)
    pattern: new RegExp(`\\b(year|y)=${YEAR}/(month|m)=${MONTH}/(day|d)=${DAY}(?!\\d)`, 'gi'),
    write: (match, y, m, d) => `${match[1]}=${y}/${match[3]}=${m}/${match[5]}=${d}`,
  },
  {
    // 2026/03/02 (Firehose, CloudTrail, GKE's sinks), dt=2026-03-02, audit-2026-03-02T...
    pattern: new RegExp(`(?<![0-9A-Za-z])${YEAR}([/_-])${MONTH}\\2${DAY}(?!\\d)`, 'g'),
    write: (match, y, m, d) => [y, m, d].join(match[2]!),
  },
  {
    // 20260302, eventDay=20260302 (Amazon Security Lake)
    pattern: new RegExp(`(?<![0-9A-Za-z])${YEAR}${MONTH}${DAY}(?![0-9A-SU-Za-z])`, 'g'),
    write: (_match, y, m, d) => `${y}${m}${d}`,
  },
];

/**
 * The latest day that a key names, in the first place that names it: another number in the key may look like a day too,
 * and an older day is what keys are passed over by.
 */
export function dateIn(key: string): KeyDate | undefined {
  let best: KeyDate | undefined;
  for (const { pattern, write } of FORMS) {
    for (const match of key.matchAll(pattern)) {
      const [year, month, day] = match.slice(1).filter((part) => /^\d+$/.test(part));
      const at = Date.UTC(Number(year), Number(month) - 1, Number(day));
      const head = key.slice(0, match.index);
      if (best && (best.day > at || (best.day === at && best.head.length <= head.length))) continue;
      best = { head, day: at, keyOf: (other) => head + write(match, ...written(other)) };
    }
  }
  return best;
}

function written(day: number): [string, string, string] {
  const [year, month, date] = new Date(day).toISOString().slice(0, 10).split('-');
  return [year!, month!, date!];
}

/** Days that a listing looks at: [since, until], both at 00:00 UTC; undefined: without a bound. */
export interface DayRange {
  since: number | undefined;
  until: number | undefined;
}

/**
 * The days that times may lie in as keys name them: a writer may use its local time, and an object is written somewhat
 * after its events, so a day more on either side.
 */
export function dayRange(since: string | undefined | null, until: string | undefined | null): DayRange {
  const floor = (time: string) => Math.floor(Date.parse(time) / DAY_MS) * DAY_MS;
  return {
    since: since == null ? undefined : floor(since) - DAY_MS,
    until: until == null ? undefined : floor(until) + DAY_MS,
  };
}

/**
 * Where a listing goes on behind a page's last key: behind that key, or, where the days in between don't matter, at
 * the first key that does. What is passed over has that key's head and an older (or later) day.
 */
export function nextKey(last: string, range: DayRange): string {
  const date = dateIn(last);
  if (!date) return last;
  let target: string | undefined;
  if (range.since !== undefined && date.day < range.since) target = date.keyOf(range.since);
  else if (range.until !== undefined && date.day > range.until) target = date.keyOf(AFTER_ALL_DAYS);
  return target !== undefined && Buffer.compare(Buffer.from(target), Buffer.from(last)) > 0 ? target : last;
}

/** Whether an object may hold events of a range: by the day in its key, else by when it was written. */
export function mayHold(found: { key: string; lastModified: string }, range: DayRange): boolean {
  const date = dateIn(found.key);
  const from = date?.day ?? Date.parse(found.lastModified);
  if (range.since !== undefined && from < range.since) return false;
  return range.until === undefined || from < range.until + DAY_MS;
}
