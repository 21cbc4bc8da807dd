import type { Person } from '../../core/approval/facts.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';

/** Only the members of Person: what a host adds besides is not kept. */
export function personRow(person: Person): Person {
  return {
    ...(person.name !== undefined && { name: person.name }),
    ...(person.email !== undefined && { email: person.email }),
    ...(person.login !== undefined && { login: person.login }),
    ...(person.kind !== undefined && { kind: person.kind }),
  };
}

/** Microseconds as a column takes them. */
export function timeRow(micros: number | undefined): string | null {
  return micros === undefined ? null : formatMicros(micros);
}

/** A column's time, or one inside JSON that Postgres wrote, in microseconds. */
export function micros(time: string): number;
export function micros(time: string | null): number | undefined;
export function micros(time: string | null): number | undefined {
  return time === null ? undefined : parseMicros(time);
}
