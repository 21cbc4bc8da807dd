import { Unsupported } from './matchable.js';

/** How a text is looked for. `*` and `?` in a pattern are wildcards, `\` before one takes it literally. */
export type Place = 'whole' | 'contains' | 'startswith' | 'endswith';

const SPECIAL = /[.*+?^${}()|[\]\\/]/g;
const MOST_PATTERN = 500;

/** A test of texts by a pattern with wildcards, without regard to case unless `cased`. */
export function wildcardTest(pattern: string, place: Place, cased: boolean): (text: string) => boolean {
  if (pattern.length > MOST_PATTERN)
    throw new Unsupported(`a pattern of more than ${MOST_PATTERN} characters`);
  const before = place === 'contains' || place === 'endswith' ? '*' : '';
  const after = place === 'contains' || place === 'startswith' ? '*' : '';
  const parts = split(`${before}${pattern}${after}`);
  const fold = (text: string) => (cased ? text : text.toLowerCase());
  if (parts.every((part) => typeof part === 'string')) {
    const literal = fold(parts.join(''));
    return (text) => fold(text) === literal;
  }
  // Each star is matched at its first chance, which is right for globs and never backtracks.
  const segments: string[][] = [[]];
  for (const part of parts)
    if (part === ANY) segments.push([]);
    else segments.at(-1)!.push(part === ONE ? '.' : fold(part as string).replace(SPECIAL, '\\$&'));
  const patterns = segments.map((segment) => segment.join(''));
  const first = new RegExp(`^${patterns[0]}`, 'su');
  const last = new RegExp(`${patterns.at(-1)}$`, 'su');
  const middle = patterns.slice(1, -1).map((source) => new RegExp(source, 'su'));
  if (patterns.length === 1) {
    const whole = new RegExp(`^${patterns[0]}$`, 'su');
    return (text) => whole.test(fold(text));
  }
  return (text) => {
    let rest = fold(text);
    const head = first.exec(rest);
    if (!head) return false;
    rest = rest.slice(head[0].length);
    for (const one of middle) {
      const found = one.exec(rest);
      if (!found) return false;
      rest = rest.slice(found.index + found[0].length);
    }
    return last.test(rest);
  };
}

/** The same pattern for a column of SQL: a text without wildcards, or a pattern of `like`. */
export function sqlText(pattern: string, place: Place): { exact: string } | { like: string } {
  const before = place === 'contains' || place === 'endswith' ? '*' : '';
  const after = place === 'contains' || place === 'startswith' ? '*' : '';
  const parts = split(`${before}${pattern}${after}`);
  if (parts.every((part) => typeof part === 'string')) return { exact: parts.join('') };
  const like = parts.map((part) =>
    part === ANY ? '%' : part === ONE ? '_' : (part as string).replace(/[\\%_]/g, '\\$&'),
  );
  return { like: like.join('') };
}

const ANY = Symbol('any');
const ONE = Symbol('one');

function split(pattern: string): Array<string | symbol> {
  const parts: Array<string | symbol> = [];
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i]!;
    if (char === '\\' && /[\\*?]/.test(pattern[i + 1] ?? '')) parts.push(pattern[++i]!);
    else parts.push(char === '*' ? ANY : char === '?' ? ONE : char);
  }
  return parts;
}
