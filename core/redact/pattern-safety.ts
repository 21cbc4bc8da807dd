const MAX_PATTERN_LENGTH = 500;

/**
 * Compiles an operator's pattern, or says what is wrong with it. Refused besides bad syntax: patterns that match the
 * empty string (they would match everywhere), back-references, and an unbounded repetition of a group that itself
 * repeats or alternates without bound, such as `(a+)+`: on a hostile string those take exponential time, and ingest
 * waits. Repeated alternations are refused whole, since overlap between branches is not analysed.
 */
export function compilePattern(source: string): { pattern: RegExp } | { problem: string } {
  if (source.length > MAX_PATTERN_LENGTH)
    return { problem: `is longer than ${MAX_PATTERN_LENGTH} characters` };
  let pattern: RegExp;
  try {
    pattern = new RegExp(source);
  } catch {
    return { problem: 'is not a valid regular expression' };
  }
  if (pattern.test('')) return { problem: 'matches the empty string' };
  if (/\\[1-9]|\\k</.test(source)) return { problem: 'has a back-reference' };
  if (repeatsARepetition(source))
    return { problem: 'repeats a group that repeats or alternates, which can take exponential time' };
  return { pattern };
}

const UNBOUNDED = /[*+]|\{\d+,\}/y;

function repeatsARepetition(source: string): boolean {
  // For each open group, whether it holds an unbounded repetition or an alternation.
  const groups: boolean[] = [];
  let inClass = false;
  for (let at = 0; at < source.length; at++) {
    const char = source[at];
    if (char === '\\') at++;
    else if (inClass) inClass = char !== ']';
    else if (char === '[') inClass = true;
    else if (char === '(') groups.push(false);
    else if (char === '|' && groups.length > 0) groups[groups.length - 1] = true;
    const atom = char === '(' || char === '|' ? -1 : at + 1;
    if (inClass || atom < 0) continue;
    UNBOUNDED.lastIndex = atom;
    const repeated = UNBOUNDED.test(source);
    const complex = char === ')' ? (groups.pop() ?? false) : false;
    if (repeated && complex) return true;
    if ((repeated || complex) && groups.length > 0) groups[groups.length - 1] = true;
  }
  return false;
}
