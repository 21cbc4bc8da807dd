import { MAX_DEPTH } from './decode.js';
import { parseJson } from './parse-json.js';

/** The members that stand whole at the beginning of a JSON object. */
export interface LeadingFields {
  fields: Record<string, unknown>;
  /** The name of the top member within which the text ends; undefined where it ends between two, or is whole. */
  cut: string | undefined;
}

const SPACE = /[ \t\r\n]*/y;
const SCALAR = /(?:true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?=[\s,}\]])/y;

/**
 * Reads as much of a JSON object as its text holds, wherever the text is cut. A member is kept when it is whole: a string
 * with its quote, a number with what ends it, a list with its bracket. Of an object that is cut, its own whole members
 * are kept. So what is read is what the whole text says, or is absent.
 */
export function leadingFields(text: string): LeadingFields {
  const start = text.indexOf('{');
  return start < 0 ? { fields: {}, cut: undefined } : membersFrom(text, start, 1);
}

function membersFrom(text: string, open: number, depth: number): LeadingFields {
  const entries: Array<[string, unknown]> = [];
  const done = (cut?: string): LeadingFields => ({ fields: Object.fromEntries(entries), cut });
  let at = skip(SPACE, text, open + 1);
  for (;;) {
    const nameEnd = text[at] === '"' ? endOfString(text, at) : -1;
    if (nameEnd < 0) return done();
    const name = parsed(text.slice(at, nameEnd));
    at = skip(SPACE, text, nameEnd);
    if (typeof name !== 'string' || text[at] !== ':') return done();
    at = skip(SPACE, text, at + 1);
    const end = endOfValue(text, at);
    const value = end < 0 ? undefined : parsed(text.slice(at, end));
    if (value === undefined) {
      if (text[at] === '{' && depth < MAX_DEPTH && end < 0)
        entries.push([name, membersFrom(text, at, depth + 1).fields]);
      return done(name);
    }
    entries.push([name, value]);
    at = skip(SPACE, text, end);
    if (text[at] !== ',') return done();
    at = skip(SPACE, text, at + 1);
  }
}

function parsed(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : -1;
}

/** The index behind the value that begins at `at`, or -1 where it doesn't end. */
function endOfValue(text: string, at: number): number {
  const first = text[at];
  if (first === '"') return endOfString(text, at);
  if (first !== '{' && first !== '[') return skip(SCALAR, text, at);
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    const char = text[i];
    if (char === '"') {
      i = endOfString(text, i) - 1;
      if (i < 0) return -1;
    } else if (char === '{' || char === '[') {
      if (++depth > MAX_DEPTH) return -1;
    } else if ((char === '}' || char === ']') && --depth === 0) {
      return i + 1;
    }
  }
  return -1;
}

function endOfString(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') return i + 1;
  }
  return -1;
}
