import { WhochangedError } from '../core/errors.js';
import { formatMicros, parseMicros } from '../core/timestamp.js';

const DURATION = /^(\d{1,6})(s|m|h|d|w)$/;
const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/**
 * A time as people give it: RFC 3339, or how long ago (`30m`, `2h`, `7d`). Returns RFC 3339 in UTC with microseconds.
 * @throws WhochangedError `invalid_request` naming the parameter
 */
export function readTime(name: string, value: string | undefined): string | undefined {
  if (value === undefined || value === '') return undefined;
  const duration = DURATION.exec(value);
  const micros = duration
    ? (Date.now() - Number(duration[1]) * SECONDS[duration[2]!]! * 1000) * 1000
    : parseMicros(value);
  if (micros !== undefined && micros >= 0 && micros < 2.5e17 / 10) return formatMicros(micros);
  throw new WhochangedError('invalid_request', `${name}: "${value.slice(0, 60)}" is no time`, {
    hint: 'write it like 2026-03-02T09:00:00Z, or 30m, 2h, 7d for that long ago',
  });
}

/**
 * A length of time such as `90s`, `5m`, `1h`, `7d`, in seconds.
 * @throws WhochangedError `invalid_request` naming the parameter
 */
export function readDuration(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const match = DURATION.exec(value);
  const seconds = match ? Number(match[1]) * SECONDS[match[2]!]! : 0;
  if (seconds > 0) return seconds;
  throw new WhochangedError('invalid_request', `${name}: "${value.slice(0, 60)}" is no length of time`, {
    hint: 'write it like 5m, 1h or 7d',
  });
}

/** A time that came inside JSON, which Postgres writes with an offset. */
export function inUtc(time: string | null): string | null {
  return time === null ? null : formatMicros(parseMicros(time)!);
}

/**
 * A window that must have a beginning; it ends now unless told otherwise.
 * @throws WhochangedError `invalid_request` for a time that is none, or a window that ends before it begins
 */
export function readWindow(query: { since: string; until?: string }): { since: string; until: string } {
  const since = readTime('since', query.since);
  const until = readTime('until', query.until) ?? formatMicros(Date.now() * 1000);
  if (since !== undefined && since < until) return { since, until };
  throw new WhochangedError('invalid_request', `since: expected a time before until (${until})`, {
    hint: 'write it like since=2h, or since=2026-03-02T09:00:00Z',
  });
}
