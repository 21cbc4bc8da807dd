import { type RawBuilder, type SqlBool, sql } from 'kysely';
import { timeConditions } from './change-filter.js';
import type { Keyset } from './cursor.js';

const DAY_MS = 86_400_000;
/** Reaches over two monthly partitions, or three. */
export const MONTH_DAYS = 31;

/** A span of time, half-open, RFC 3339; undefined: without that end. */
export interface Span {
  since?: string | undefined;
  until?: string | undefined;
}

/**
 * The spans to look through for one page, in the list's order: what lies next to where it begins, then the rest. Each month is
 * a partition, and Postgres plans all that a statement may touch: a page that a month fills must not cost planning for years.
 * What lies before a cursor is left out, but for a millisecond: the cursor itself says where in that.
 * @param now milliseconds since the epoch, where a list that is newest first begins if nothing else says so
 * @param days where the first spans end, counted from there, ascending
 */
export function timeSteps(
  asked: Span,
  after: Keyset | undefined,
  ascending: boolean,
  now: number,
  days: readonly number[] = [MONTH_DAYS],
): Span[] {
  const whole = after ? behind(asked, after, ascending) : asked;
  const { since, until } = whole;
  const [begin, end] = ascending ? [since, until] : [until, since];
  const start = begin !== undefined ? Date.parse(begin) : ascending ? Number.NaN : now;
  const steps: Span[] = [];
  let from = begin;
  for (const count of days) {
    const cut = start + (ascending ? 1 : -1) * count * DAY_MS;
    if (!Number.isFinite(cut) || Math.abs(cut) > 8e15) break;
    if (end !== undefined && (ascending ? Date.parse(end) <= cut : Date.parse(end) >= cut)) break;
    const at = new Date(cut).toISOString();
    steps.push(ascending ? { since: from, until: at } : { since: at, until: from });
    from = at;
  }
  return [...steps, ascending ? { since: from, until } : { since, until: from }];
}

/** What is found in these spans, one after the other, until there are as many as asked for. */
export async function findInSteps<T>(
  spans: readonly Span[],
  most: number,
  find: (span: Span, most: number) => Promise<T[]>,
): Promise<T[]> {
  const found: T[] = [];
  for (const span of spans) {
    found.push(...(await find(span, most - found.length)));
    if (found.length >= most) break;
  }
  return found;
}

/** The shortest span, in whole milliseconds, that holds all of these times (RFC 3339). Of none, one that holds nothing. */
export function spanOf(times: readonly string[]): { since: string; until: string } {
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const time of times) {
    const millis = Date.parse(time);
    if (millis < first) first = millis;
    if (millis > last) last = millis;
  }
  if (first > last) return { since: 'infinity', until: '-infinity' };
  return { since: new Date(first).toISOString(), until: new Date(last + 1).toISOString() };
}

/**
 * The condition that `at` lies in a span, in a statement that is prepared and has the time it looks for from another row: that
 * time rules partitions out while the statement runs, which opens all of them first; a parameter does so before.
 */
export function within(span: Span): RawBuilder<SqlBool> {
  return sql<SqlBool>`${sql.join([sql`true`, ...timeConditions(span, sql.ref('at'))], sql` and `)}`;
}

function behind({ since, until }: Span, { at }: Keyset, ascending: boolean): Span {
  const place = Date.parse(at);
  if (ascending)
    return since !== undefined && Date.parse(since) >= place ? { since, until } : { since: at, until };
  return until !== undefined && Date.parse(until) <= place
    ? { since, until }
    : { since, until: new Date(place + 1).toISOString() };
}
