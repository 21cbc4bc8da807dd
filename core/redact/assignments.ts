import { isDigest, type KeyedDigest } from './keyed-digest.js';
import { NAME, type Names } from './names.js';

/*
 * `name = value` and `name: value` in text: properties, YAML, JSON that does not parse, shell, connection strings,
 * flags, headers, messages.
 */

const MAX_NAME = 100;

interface Span {
  start: number;
  end: number;
}

/**
 * Digests the values of sensitive names. With `toEnd` the text is one item of a command line or one query parameter,
 * so a value reaches to its end. Linear in the text: a name is looked for backwards within a bound.
 */
export function redactAssignments(text: string, names: Names, digest: KeyedDigest, toEnd = false): string {
  let out = '';
  let done = 0;
  // After `name: DB_PASSWORD`, the `value:` that follows is that name's.
  let valueIsSecret = false;
  const separators = /[=:]/g;
  for (let match = separators.exec(text); match !== null; match = separators.exec(text)) {
    const at = match.index;
    const span = nameSpan(text, at, done);
    if (span === undefined) continue;
    const word = text.slice(span.start, span.end).replace(/^[-.]+/, '');
    const meaning = names.meaning(word);
    const namesPair = word === 'name' || word === 'key';
    if (!namesPair && (meaning & (NAME.sensitive | NAME.value)) === 0) continue;
    const name = nameAt(text, at, done, span);
    if (namesPair) {
      const pair = valueAfter(text, at, name, false);
      valueIsSecret = (names.meaning(text.slice(pair.start, pair.end).trim()) & NAME.sensitive) !== 0;
    }
    const pairedSecret = valueIsSecret && (meaning & NAME.value) !== 0;
    if (pairedSecret) valueIsSecret = false;
    const certain = (meaning & NAME.certain) !== 0;
    const secret = (meaning & NAME.sensitive) !== 0 && isAssignment(text, at, name, certain);
    if (!secret && !pairedSecret) continue;
    const { start, end } = valueAfter(text, at, name, toEnd);
    const value = text.slice(start, end);
    separators.lastIndex = Math.max(at + 1, end);
    if (isHarmless(value) || isDigest(value)) continue;
    out += text.slice(done, start) + digest(value);
    done = end;
  }
  return done === 0 ? text : out + text.slice(done);
}

/** Values that hold nothing to hide even under a sensitive name: none, a switch, a reference to something else. */
export function isHarmless(value: string): boolean {
  return value.length < 6 && /^(?:|true|false|null|nil|none|~|\{\}|\[\])$/i.test(value)
    ? true
    : /^(?:\$\(\w{1,128}\)|\$\{?[A-Z_][A-Z0-9_]{0,127}\}?|\{\{[^{}]{0,256}\}\})$/.test(value);
}

/** How far back from a separator its name and what stands before that are looked for. */
const MAX_REACH = MAX_NAME + 12;

/** Where the name stands that ends before `at`, not reaching back before `from`. */
function nameSpan(text: string, at: number, from: number): Span | undefined {
  let end = at;
  const limit = Math.max(from, at - MAX_REACH);
  while (end > limit && ' \t"\'\\]`+!<>=:'.includes(text.charAt(end - 1))) end--;
  let start = end;
  while (start > limit && isNameChar(text.charCodeAt(start - 1))) start--;
  return start === end ? undefined : { start, end };
}

interface Name {
  quoted: boolean;
  lineStart: boolean;
  /** Follows `{`, `,`, `(` or `;`: a member of a flow mapping. */
  member: boolean;
  /** Follows `;`: a part of a connection string, whose value may hold blanks. */
  part: boolean;
  indent: number;
}

/** How a name stands in its text. */
function nameAt(text: string, at: number, from: number, { start, end }: Span): Name {
  const limit = Math.max(from, at - MAX_REACH);
  let before = start;
  while (before > limit && ' \t-"\'\\[`'.includes(text.charAt(before - 1))) before--;
  const previous = before === 0 ? '\n' : text.charAt(before - 1);
  return {
    quoted: /["'`]/.test(text.slice(end, at)),
    lineStart: previous === '\n' || previous === '\r',
    member: '{,(;'.includes(previous),
    part: previous === ';',
    indent: /^[\s-]*/.exec(text.slice(before, start))?.[0].length ?? 0,
  };
}

function isNameChar(code: number): boolean {
  return (
    (code >= 97 && code <= 122) ||
    (code >= 65 && code <= 90) ||
    (code >= 48 && code <= 57) ||
    code === 95 ||
    code === 45 ||
    code === 46
  );
}

/** An equals sign always assigns. A colon does in structured text, or after a name that means nothing else. */
function isAssignment(text: string, at: number, name: Name, certain: boolean): boolean {
  if (text[at] === '=') return true;
  if (text.startsWith('://', at) || text[at + 1] === ':') return false;
  if (name.quoted || certain) return true;
  const spaced = at + 1 >= text.length || /\s|["']/.test(text.charAt(at + 1));
  if (spaced) return name.lineStart || name.member;
  // `X-Token:abc` as a header; but `vault-secrets:1.2` is an image.
  return name.lineStart && /^[^\s/@]{16}/.test(text.slice(at + 1, at + 17));
}

const BLANKS = /[ \t]*/y;
const OPENER = /\\*["'`]/y;
const BLOCK = /[|>][+-]?\d?[ \t]*\r?\n/y;
const INLINE = /(?:\[redacted:[0-9a-f]{16}\]|[^\s"'`,;&]|[,;&](?![\w.-]{1,64}=|\s|$))+/y;

/** The span of the value that follows the separator at `at`. */
function valueAfter(text: string, at: number, name: Name, toEnd: boolean): Span {
  let start = at + 1;
  while ('=>~'.includes(text[start] ?? ' ')) start++;
  start = skip(BLANKS, text, start);
  if (name.quoted && /[\r\n]/.test(text[start] ?? '')) start = skip(/\s*/y, text, start);
  OPENER.lastIndex = start;
  const opener = OPENER.exec(text)?.[0];
  if (opener !== undefined) {
    const inside = start + opener.length;
    return { start: inside, end: closing(text, inside, opener) };
  }
  if (text.startsWith('{{', start)) {
    const end = text.indexOf('}}', start);
    if (end > 0 && end - start < 256) return { start, end: end + 2 };
  }
  if (toEnd) return { start, end: text.length };
  const flow = text[at] === ':' ? flowSpan(text, start) : undefined;
  if (flow !== undefined) return flow;
  BLOCK.lastIndex = start;
  const block = BLOCK.exec(text);
  if (block !== null) return indented(text, start + block[0].length, name.indent);
  if (name.lineStart && !name.quoted) {
    const line = lineEnd(text, start);
    if (line > start) return { start, end: line };
    // A plain scalar may begin on the next line; a mapping or a list there is not this name's value.
    const next = indented(text, Math.min(line + 1, text.length), name.indent);
    const structured = /^\s*(?:-\s|[\w."'-]{1,100}:(?:\s|$)|[{[])/.test(
      text.slice(next.start, next.start + 200),
    );
    return structured ? { start: line, end: line } : next;
  }
  if (name.part) {
    const semicolon = text.indexOf(';', start);
    const line = lineEnd(text, start);
    return { start, end: semicolon < 0 ? line : Math.min(semicolon, line) };
  }
  INLINE.lastIndex = start;
  const length = INLINE.exec(text)?.[0].length ?? 0;
  const end = name.member || name.quoted ? trimClosers(text, start, start + length) : start + length;
  return { start, end };
}

/** A flow list is a value. A flow mapping, or a list of them, holds values: the span is empty, its members come in turn. */
function flowSpan(text: string, start: number): Span | undefined {
  if (text[start] === '{')
    return /^\{\s*(?:\}|$|\\*["']|[\w.-]{1,100}\s*:)/.test(text.slice(start, start + 128))
      ? { start, end: start }
      : undefined;
  if (text[start] !== '[' || text.startsWith('[redacted:', start)) return undefined;
  if (/^\[\s*\{/.test(text.slice(start, start + 64))) return { start, end: start };
  const end = text.indexOf(']', start);
  return { start, end: end < 0 ? text.length : end + 1 };
}

function skip(pattern: RegExp, text: string, start: number): number {
  pattern.lastIndex = start;
  return start + (pattern.exec(text)?.[0].length ?? 0);
}

function closing(text: string, from: number, opener: string): number {
  for (let end = text.indexOf(opener, from); end >= 0; end = text.indexOf(opener, end + opener.length)) {
    let slashes = 0;
    while (text[end - 1 - slashes] === '\\') slashes++;
    if (opener.length > 1 ? slashes === 0 : slashes % 2 === 0) return end;
  }
  return text.length;
}

function lineEnd(text: string, from: number): number {
  const newline = text.indexOf('\n', from);
  const end = newline < 0 ? text.length : newline;
  return text[end - 1] === '\r' && end > from ? end - 1 : end;
}

/** The lines from `from` on that are indented deeper than `indent`, without the first one's indentation. */
function indented(text: string, from: number, indent: number): Span {
  let end = from;
  let last = from;
  while (end < text.length) {
    const line = text.slice(end, lineEnd(text, end));
    const depth = line.search(/\S/);
    if (depth >= 0 && depth <= indent) break;
    end += line.length;
    if (depth >= 0) last = end;
    while (end < text.length && text[end] !== '\n') end++;
    end++;
  }
  return { start: Math.min(skip(BLANKS, text, from), last), end: last };
}

function trimClosers(text: string, start: number, end: number): number {
  if (text.startsWith('[redacted:', start)) return Math.min(end, start + 27);
  let trimmed = end;
  while (trimmed > start && '})]'.includes(text.charAt(trimmed - 1))) trimmed--;
  return trimmed;
}
