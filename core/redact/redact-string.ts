import type { Json } from '../audit-event.js';
import { isDigest, type KeyedDigest } from './keyed-digest.js';
import type { RedactionRules } from './rules.js';
import { scanText } from './scan.js';

/** Redacts a value that was parsed out of a string. */
export type RedactParsed = (value: Json) => Json;

/**
 * Digests what is secret inside one string value, looking into what the string encodes: JSON is parsed, redacted as
 * the value it is and written again; base64 of text is digested whole when there is something to hide in it; base64
 * of compressed data is digested unseen. The same string comes back when nothing in it is secret.
 */
export function redactString(
  text: string,
  rules: RedactionRules,
  digest: KeyedDigest,
  parsed: RedactParsed,
): string {
  const length = text.length;
  if (length < 6 || rules.harmlessStrings.has(text)) return text;
  const first = text.charCodeAt(0);
  if (first === 123 || first === 91 || first <= 32) {
    const json = redactJsonText(text, parsed);
    if (json !== undefined) return json;
  }
  if (length >= 24 && isBase64(text)) return redactBase64(text, rules, digest, parsed);
  const out = scanText(text, rules, digest);
  // Not what encodes something: that was judged by where it stands.
  if (out === text) rules.harmlessStrings.add(text);
  return out;
}

/**
 * Redacts JSON text, or returns undefined when it is not an object or an array. White space is kept only when nothing
 * changes.
 */
export function redactJsonText(text: string, parsed: RedactParsed): string | undefined {
  const trimmed = text.trim();
  const last = trimmed.at(-1);
  if (!(trimmed.startsWith('{') && last === '}') && !(trimmed.startsWith('[') && last === ']'))
    return undefined;
  let value: Json;
  try {
    value = JSON.parse(trimmed) as Json;
  } catch {
    return undefined;
  }
  const redacted = parsed(value);
  // JSON.parse keeps the last of equal keys: an earlier one was never looked at, so it must not be written.
  if (redacted === value && countColons(trimmed) === countMembers(value)) return text;
  return JSON.stringify(redacted) + (text.endsWith('\n') ? '\n' : '');
}

/** Colons outside strings: as many as the text has members. */
function countColons(text: string): number {
  let count = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 92) i++;
    else if (code === 34) inString = !inString;
    else if (code === 58 && !inString) count++;
  }
  return count;
}

function countMembers(root: Json): number {
  let count = 0;
  const pending: Json[] = [root];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (value === null || typeof value !== 'object') continue;
    const members = Object.values(value);
    if (!Array.isArray(value)) count += members.length;
    for (const member of members) pending.push(member);
  }
  return count;
}

function isBase64(text: string): boolean {
  // Text in base64 has capitals; hex digests, UIDs and most names have none.
  return /^[A-Za-z0-9+/_-]{24,}={0,2}$/.test(text) && /[A-Z]/.test(text);
}

function redactBase64(
  text: string,
  rules: RedactionRules,
  digest: KeyedDigest,
  parsed: RedactParsed,
): string {
  const bytes = Buffer.from(text, 'base64');
  const gzip = bytes[0] === 0x1f && bytes[1] === 0x8b && bytes[2] === 8;
  const zip = bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3;
  if (gzip || zip) return digest(text);
  const decoded = decodeUtf8(bytes);
  if (decoded !== undefined) {
    // Base64 in base64 shrinks by a quarter each time, so this ends.
    if (redactString(decoded, rules, digest, parsed) !== decoded) return digest(decoded);
  }
  return scanText(text, rules, digest);
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeUtf8(bytes: Buffer): string | undefined {
  // Many times faster than the strict decoder, and right where it had nothing to replace.
  const text = bytes.toString('utf8');
  if (!text.includes('\uFFFD')) return text;
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * What a value of Secret.data stands for, to be digested: the decoded text if it is base64 of UTF-8, so that one
 * password has one digest in data, in stringData and in an environment variable. Bytes that are no text are digested
 * as their base64, and what is not base64 at all as it stands.
 */
export function secretDataText(value: string): string {
  if (value.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) return value;
  const bytes = Buffer.from(value, 'base64');
  if (bytes.toString('base64') !== value) return value;
  return decodeUtf8(bytes) ?? value;
}

/** Digests a string that is secret as a whole. An empty string stays: that there is no value is no secret. */
export function hideString(value: string, digest: KeyedDigest): string {
  return value === '' || isDigest(value) ? value : digest(value);
}
