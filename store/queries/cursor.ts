import { WhochangedError } from '../../core/errors.js';

/** Where a page ends: the time and id of its last row. */
export interface Keyset {
  at: string;
  id: string;
}

const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/;
const ID = /^[0-9a-zA-Z-]{1,4000}$/;

/** An opaque cursor; it holds nothing but a place, so it needs no signature. */
export function encodeCursor(keyset: Keyset): string {
  return Buffer.from(JSON.stringify([keyset.at, keyset.id])).toString('base64url');
}

/** @throws WhochangedError `invalid_request` for anything that encodeCursor didn't make */
export function decodeCursor(cursor: string | undefined): Keyset | undefined {
  if (cursor === undefined) return undefined;
  try {
    const [at, id] = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')) as [unknown, unknown];
    if (typeof at === 'string' && TIME.test(at) && typeof id === 'string' && ID.test(id)) return { at, id };
  } catch {
    // Said below.
  }
  throw notOurs();
}

/** An opaque cursor of what is listed by its names and not by time. */
export function encodeNames(names: readonly string[]): string {
  return Buffer.from(JSON.stringify(names)).toString('base64url');
}

/** @throws WhochangedError `invalid_request` for anything that encodeNames didn't make of so many names */
export function decodeNames(cursor: string | undefined, count: number): string[] | undefined {
  if (cursor === undefined) return undefined;
  try {
    const names = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')) as unknown;
    const isText = (name: unknown) => typeof name === 'string' && !name.includes('\0') && name.isWellFormed();
    if (Array.isArray(names) && names.length === count && names.every(isText)) return names as string[];
  } catch {
    // Said below.
  }
  throw notOurs();
}

function notOurs(): WhochangedError {
  return new WhochangedError('invalid_request', 'cursor: not one of ours', {
    hint: 'pass on the `next` of the page before, unchanged',
  });
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** Cuts rows (one more than the limit was asked for) into a page. */
export function pageOf<T>(rows: T[], limit: number, keyset: (row: T) => Keyset): Page<T> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, next: rows.length > limit && last !== undefined ? encodeCursor(keyset(last)) : null };
}
