/** Times are microseconds since the Unix epoch: exact in a double until the year 2255. */

const PATTERN =
  /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,9})\d*)?\s*(?:([Zz])|([+-])(\d{2}):?(\d{2}))?$/;

let minuteText = '';
let minuteMicros = 0;

/**
 * Reads an RFC 3339 time as audit logs really hold it: 0 to 9 fraction digits (cut to microseconds), a space for `T`,
 * a missing zone (UTC), or seconds since the epoch as a number.
 * Returns undefined for anything else.
 */
export function parseMicros(value: unknown): number | undefined {
  if (typeof value === 'number') {
    return Number.isFinite(value) && value > 0 && value < 1e11 ? Math.round(value * 1e6) : undefined;
  }
  if (typeof value !== 'string') return undefined;
  // The shape of nearly every audit time: 2024-05-01T10:00:00.123456Z. Its minute repeats from event to event.
  if (value.length === 27 && value[26] === 'Z' && value.startsWith(minuteText) && minuteText !== '') {
    const fraction = Number(value.slice(17, 26));
    if (fraction >= 0 && fraction < 61) return minuteMicros + Math.round(fraction * 1e6);
  }
  const match = PATTERN.exec(value);
  if (!match) return undefined;
  const [, day, hour, minute, second, fraction = '', , sign, zoneHour, zoneMinute] = match;
  const millis = Date.parse(`${day}T${hour}:${minute}:00Z`);
  if (Number.isNaN(millis) || Number(second) > 60) return undefined;
  const offset = sign ? (Number(zoneHour) * 60 + Number(zoneMinute)) * (sign === '+' ? 1 : -1) : 0;
  const micros =
    (millis - offset * 60_000) * 1000 + Number(second) * 1e6 + Number(fraction.padEnd(6, '0').slice(0, 6));
  if (offset === 0 && value.length === 27 && value[26] === 'Z' && value[10] === 'T') {
    minuteText = value.slice(0, 17);
    minuteMicros = millis * 1000;
  }
  return micros;
}

let secondFormatted = Number.NaN;
let secondText = '';

/** RFC 3339 in UTC with six fraction digits, as metav1.MicroTime writes it. */
export function formatMicros(micros: number): string {
  const second = Math.floor(micros / 1e6);
  if (second !== secondFormatted) {
    secondText = new Date(second * 1000).toISOString().slice(0, 19);
    secondFormatted = second;
  }
  return `${secondText}.${String(micros - second * 1e6).padStart(6, '0')}Z`;
}
