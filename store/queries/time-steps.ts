import type { Keyset } from './cursor.js';

const DAY_MS = 86_400_000;
/** Reaches over two monthly partitions, or three. */
const FIRST_DAYS = 31;

/** A span of time, half-open, RFC 3339; undefined: without that end. */
export interface Span {
  since?: string | undefined;
  until?: string | undefined;
}

/**
 * The spans to look through for one page, in the list's order: what lies next to where it begins, then the rest. Each month is
 * a partition, and Postgres plans all that a statement may touch: a page that a month fills must not cost planning for years.
 * @param now milliseconds since the epoch, where a list that is newest first begins if nothing else says so
 */
export function timeSteps(
  { since, until }: Span,
  after: Keyset | undefined,
  ascending: boolean,
  now: number,
): Span[] {
  const whole = { since, until };
  const bounds = [after?.at, ascending ? since : until].flatMap((at) =>
    at === undefined ? [] : [Date.parse(at)],
  );
  const start = ascending ? Math.max(...bounds) : bounds.length > 0 ? Math.min(...bounds) : now;
  const cut = start + (ascending ? 1 : -1) * FIRST_DAYS * DAY_MS;
  const end = ascending ? until : since;
  if (!Number.isFinite(cut) || Math.abs(cut) > 8e15) return [whole];
  if (end !== undefined && (ascending ? Date.parse(end) <= cut : Date.parse(end) >= cut)) return [whole];
  const at = new Date(cut).toISOString();
  return ascending
    ? [
        { since, until: at },
        { since: at, until },
      ]
    : [
        { since: at, until },
        { since, until: at },
      ];
}
