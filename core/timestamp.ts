/** Times are microseconds since the Unix epoch: exact in a double until the year 2255. */

const PATTERN =
  /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,9})\d*)?\s*(?:([Zz])|([+-])(\d{2}):?(\d{2}))?$/;

let dayText = '';
let dayMicros = 0;

/**
 * 2024-05-01T10:00:00.123456Z, the shape of nearly every audit time, on the day that was read last. Undefined for all
 * else, which may be a time nevertheless.
 */
function microsOfKnownDay(text: string): number | undefined {
  if (text.length !== 27 || dayText === '' || !text.startsWith(dayText)) return undefined;
  // Z and the separators of T10:00:00.
  if (text.charCodeAt(26) !== 0x5a || text.charCodeAt(10) !== 0x54 || text.charCodeAt(19) !== 0x2e)
    return undefined;
  if (text.charCodeAt(13) !== 0x3a || text.charCodeAt(16) !== 0x3a) return undefined;
  const hour = digits(text, 11, 13);
  const minute = digits(text, 14, 16);
  const second = digits(text, 17, 19);
  const micros = digits(text, 20, 26);
  // NaN, where there was no digit, is not less.
  if (!(hour < 24 && minute < 60 && second < 60 && micros < 1e6)) return undefined;
  return dayMicros + ((hour * 60 + minute) * 60 + second) * 1e6 + micros;
}

function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}

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
  const known = microsOfKnownDay(value);
  if (known !== undefined) return known;
  const match = PATTERN.exec(value);
  if (!match) return undefined;
  const [, day, hour, minute, second, fraction = '', , sign, zoneHour, zoneMinute] = match;
  const millis = Date.parse(`${day}T${hour}:${minute}:00Z`);
  if (Number.isNaN(millis) || Number(second) > 60) return undefined;
  const offset = sign ? (Number(zoneHour) * 60 + Number(zoneMinute)) * (sign === '+' ? 1 : -1) : 0;
  const micros =
    (millis - offset * 60_000) * 1000 + Number(second) * 1e6 + Number(fraction.padEnd(6, '0').slice(0, 6));
  if (value.length === 27 && value[26] === 'Z') {
    dayText = value.slice(0, 10);
    dayMicros = Date.parse(dayText) * 1000;
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
