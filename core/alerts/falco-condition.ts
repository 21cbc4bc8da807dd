import { falcoField } from './falco-fields.js';
import {
  all,
  any,
  type Matchable,
  not,
  type Predicate,
  predicate,
  type Scalar,
  scalars,
  Unsupported,
} from './matchable.js';
import { type Column, columnNeeds, EVERYTHING, type Needs } from './needs.js';
import { type Place, sqlText, wildcardTest } from './text-match.js';

const TOKEN = /\s*(?:([(),])|(!=|<=|>=|==|=|<|>)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s(),=<>!"']+))/y;
const DEEPEST = 30;

interface Token {
  kind: 'mark' | 'operator' | 'text' | 'word';
  text: string;
}

type Comparison = (found: readonly string[], wanted: readonly string[]) => boolean;
const number =
  (compare: (a: number, b: number) => boolean): Comparison =>
  (found, [wanted]) =>
    found.some((one) => compare(Number(one), Number(wanted)));
const text =
  (compare: (a: string, b: string) => boolean): Comparison =>
  (found, [wanted = '']) =>
    found.some((one) => compare(one, wanted));

/** A field that isn't there fails every comparison, `!=` too, as in Falco. */
const COMPARISONS: Record<string, Comparison> = {
  '=': text((a, b) => a === b),
  '==': text((a, b) => a === b),
  '!=': (found, [wanted]) => found.length > 0 && found.every((one) => one !== wanted),
  '<': number((a, b) => a < b),
  '<=': number((a, b) => a <= b),
  '>': number((a, b) => a > b),
  '>=': number((a, b) => a >= b),
  contains: text((a, b) => a.includes(b)),
  icontains: text((a, b) => a.toLowerCase().includes(b.toLowerCase())),
  startswith: text((a, b) => a.startsWith(b)),
  endswith: text((a, b) => a.endsWith(b)),
  glob: text((a, b) => wildcardTest(b, 'whole', true)(a)),
  in: (found, wanted) => found.length > 0 && found.every((one) => wanted.includes(one)),
  intersects: (found, wanted) => found.some((one) => wanted.includes(one)),
  pmatch: (found, wanted) =>
    found.some((one) => wanted.some((path) => one === path || one.startsWith(path.replace(/\/?$/, '/')))),
};
const OF_LISTS = ['in', 'intersects', 'pmatch'];
/** Operators that look for texts, which SQL can do too. Falco's texts have no wildcards but in globs. */
const PLACES: Record<string, Place> = {
  '=': 'whole',
  '==': 'whole',
  in: 'whole',
  intersects: 'whole',
  contains: 'contains',
  icontains: 'contains',
  startswith: 'startswith',
  endswith: 'endswith',
};

/**
 * Compiles a condition of Falco's language (Falco documentation, "Condition Syntax").
 * @throws Unsupported naming the field, operator or macro that isn't known, or where it can't be read
 */
export function readFalcoCondition(
  condition: string,
  lists: ReadonlyMap<string, readonly string[]>,
  macros: ReadonlyMap<string, string>,
  depth = 0,
): Predicate {
  if (depth > DEEPEST) throw new Unsupported('macros that go on and on');
  const tokens = tokenize(condition);
  let at = 0;
  const isWord = (word: string) => tokens[at]?.kind === 'word' && tokens[at]!.text.toLowerCase() === word;
  const isMark = (mark: string) => tokens[at]?.kind === 'mark' && tokens[at]!.text === mark;
  const expect = (mark: string) => {
    if (!isMark(mark))
      throw new Unsupported(`its condition: expected ${mark} before ${tokens[at]?.text ?? 'its end'}`);
    at++;
  };
  const either = (): Predicate => {
    const parts = [both()];
    while (isWord('or') && ++at) parts.push(both());
    return parts.length === 1 ? parts[0]! : any(parts);
  };
  const both = (): Predicate => {
    const parts = [one()];
    while (isWord('and') && ++at) parts.push(one());
    return parts.length === 1 ? parts[0]! : all(parts);
  };
  const one = (): Predicate => {
    if (isWord('not') && ++at) return not(one());
    if (isMark('(')) {
      at++;
      const inner = either();
      expect(')');
      return inner;
    }
    const token = tokens[at++];
    if (token?.kind !== 'word')
      throw new Unsupported(`its condition: ${token?.text ?? 'it ends'} is not expected`);
    const macro = macros.get(token.text);
    if (macro !== undefined) return readFalcoCondition(macro, lists, macros, depth + 1);
    return comparison(token.text);
  };
  const comparison = (field: string): Predicate => {
    const read = falcoField(field);
    if (!read) throw new Unsupported(`the field or macro ${field}`);
    const operator = (tokens[at++]?.text ?? '').toLowerCase();
    const found = (subject: Matchable) => scalars(read.read(subject)).map((value: Scalar) => String(value));
    if (operator === 'exists')
      return predicate((subject) => found(subject).length > 0, EVERYTHING, read.parts);
    const compare = COMPARISONS[operator];
    if (!compare) throw new Unsupported(`the operator ${operator}`);
    const wanted = OF_LISTS.includes(operator) ? list() : [value()];
    if (operator === 'glob') wildcardTest(wanted[0]!, 'whole', true);
    return predicate(
      (subject) => compare(found(subject), wanted),
      needsOf(read.column, operator, wanted),
      read.parts,
    );
  };
  const value = (): string => {
    const token = tokens[at++];
    if (token?.kind !== 'word' && token?.kind !== 'text')
      throw new Unsupported(`its condition: expected a value before ${token?.text ?? 'its end'}`);
    return token.text;
  };
  const list = (): string[] => {
    expect('(');
    const items: string[] = [];
    while (!isMark(')')) {
      items.push(...expand(value(), lists, 0));
      if (isMark(',')) at++;
      else break;
    }
    expect(')');
    return items;
  };
  const whole = either();
  if (at < tokens.length) throw new Unsupported(`its condition: ${tokens[at]!.text} is not expected`);
  return whole;
}

function needsOf(column: Column | undefined, operator: string, wanted: readonly string[]): Needs {
  const place = PLACES[operator];
  if (place === undefined) return EVERYTHING;
  return columnNeeds(
    column,
    wanted.map((one) => sqlText(one.replace(/[\\*?]/g, '\\$&'), place)),
  );
}

/** A list's name stands for its items, in a list of lists too. */
function expand(item: string, lists: ReadonlyMap<string, readonly string[]>, depth: number): string[] {
  const items = lists.get(item);
  if (!items) return [item];
  if (depth > DEEPEST) throw new Unsupported('lists that hold each other');
  return items.flatMap((one) => expand(one, lists, depth + 1));
}

function tokenize(condition: string): Token[] {
  const tokens: Token[] = [];
  const source = condition.trim();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < source.length) {
    const from = TOKEN.lastIndex;
    const match = TOKEN.exec(source);
    if (!match)
      throw new Unsupported(`its condition: it can't be read from ${source.slice(from, from + 20)}`);
    const [, mark, operator, double, single, word] = match;
    if (mark !== undefined) tokens.push({ kind: 'mark', text: mark });
    else if (operator !== undefined) tokens.push({ kind: 'operator', text: operator });
    else if (word !== undefined) tokens.push({ kind: 'word', text: word });
    else tokens.push({ kind: 'text', text: (double ?? single ?? '').replace(/\\(.)/g, '$1') });
  }
  return tokens;
}
