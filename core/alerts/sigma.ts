import { compilePattern } from '../redact/pattern-safety.js';
import { fieldNamed } from './fields.js';
import { all, any, not, type Predicate, predicate, type Scalar, scalars, Unsupported } from './matchable.js';
import { type Column, columnNeeds, EVERYTHING, type Needs } from './needs.js';
import { type Place, sqlText, wildcardTest } from './text-match.js';

/** A Sigma rule that can be used here. */
export interface SigmaRule {
  id: string;
  title: string;
  level: string;
  matches: Predicate;
}

const PLACES: Record<string, Place> = {
  contains: 'contains',
  startswith: 'startswith',
  endswith: 'endswith',
};
const COMPARISONS: Record<string, (a: number, b: number) => boolean> = {
  lt: (a, b) => a < b,
  lte: (a, b) => a <= b,
  gt: (a, b) => a > b,
  gte: (a, b) => a >= b,
};

/**
 * Reads a rule as SigmaHQ writes them (Sigma specification 2: "Rules"), for product kubernetes, service audit.
 * @param document the parsed YAML
 * @throws Unsupported naming what it has that isn't supported: other log sources, aggregations, keywords, modifiers
 */
export function readSigmaRule(document: unknown): SigmaRule {
  const rule = map(document) ?? refuse('it is not a map');
  const { title, id, level, logsource, detection, correlation } = rule;
  if (correlation !== undefined) throw new Unsupported('a correlation of rules');
  const source = map(logsource);
  if (source?.product !== 'kubernetes' || source.service !== 'audit')
    throw new Unsupported('its log source is not product kubernetes, service audit');
  const { condition, timeframe, ...selections } = map(detection) ?? refuse('it has no detection');
  if (timeframe !== undefined) throw new Unsupported('a timeframe');
  const compiled = new Map(Object.entries(selections).map(([name, value]) => [name, readSelection(value)]));
  const conditions = Array.isArray(condition) ? condition : [condition];
  const name = text(title) ?? refuse('it has no title');
  return {
    id: text(id) ?? name,
    title: name,
    level: text(level) ?? 'medium',
    matches: any(
      conditions.map((one: unknown) => readCondition(text(one) ?? refuse('it has no condition'), compiled)),
    ),
  };
}

/** Fields and values as in a Sigma selection: of a map all must hold, of a list any. */
export function readSelection(value: unknown): Predicate {
  if (Array.isArray(value)) return any(value.map(readSelection));
  const fields = map(value);
  if (!fields) throw new Unsupported('keywords without a field');
  return all(Object.entries(fields).map(([key, wanted]) => readField(key, wanted)));
}

function readField(key: string, wanted: unknown): Predicate {
  const [name = '', ...modifiers] = key.split('|');
  const field = fieldNamed(name) ?? refuse(`the field ${name}`);
  const every = modifiers.includes('all');
  const rest = modifiers.filter((one) => one !== 'all' && one !== 'cased');
  const values: unknown[] = Array.isArray(wanted) ? wanted : [wanted];
  const tests = values.map((one) => valueTest(rest, one, modifiers.includes('cased')));
  const hold = every ? tests.every.bind(tests) : tests.some.bind(tests);
  return predicate(
    (subject) => {
      const found = scalars(field.read(subject));
      return hold((test) => test(found));
    },
    needsOf(field.column, rest, values),
    field.parts,
  );
}

/** What the column must hold, where it is looked for by texts. */
function needsOf(
  column: Column | undefined,
  modifiers: readonly string[],
  values: readonly unknown[],
): Needs {
  const [modifier] = modifiers;
  const place = modifier === undefined ? 'whole' : PLACES[modifier];
  if (place === undefined || !values.every((one) => typeof one === 'string')) return EVERYTHING;
  return columnNeeds(
    column,
    values.map((one) => sqlText(one, place)),
  );
}

function valueTest(
  modifiers: readonly string[],
  wanted: unknown,
  cased: boolean,
): (found: readonly Scalar[]) => boolean {
  const [modifier, second] = modifiers;
  if (modifiers.length > 1 && !(modifier === 're' && second === 'i'))
    throw new Unsupported(`the modifiers ${modifiers.join('|')}`);
  if (modifier === 'exists') return (found) => found.length > 0 === (wanted === true);
  if (wanted === null && modifier === undefined) return (found) => found.length === 0;
  if (typeof wanted !== 'string' && typeof wanted !== 'number' && typeof wanted !== 'boolean')
    throw new Unsupported('a value that is no text, number or flag');
  if (modifier !== undefined && modifier in COMPARISONS) {
    const compare = COMPARISONS[modifier]!;
    return (found) => found.some((one) => typeof one === 'number' && compare(one, Number(wanted)));
  }
  if (modifier === 're') return patternTest(String(wanted), second === 'i');
  if (modifier === 'cidr') return rangeTest(String(wanted));
  const place = modifier === undefined ? 'whole' : PLACES[modifier];
  if (place === undefined) throw new Unsupported(`the modifier ${modifier}`);
  // An empty text is also what isn't there.
  if (wanted === '' && place === 'whole') return (found) => found.every((one) => one === '');
  const test = wildcardTest(String(wanted), place, cased);
  return (found) => found.some((one) => test(String(one)));
}

function patternTest(source: string, ignoreCase: boolean): (found: readonly Scalar[]) => boolean {
  const compiled = compilePattern(source);
  if ('problem' in compiled) throw new Unsupported(`a regular expression that ${compiled.problem}`);
  const pattern = new RegExp(compiled.pattern.source, ignoreCase ? 'i' : '');
  return (found) => found.some((one) => pattern.test(String(one)));
}

/** IPv4 only. */
function rangeTest(range: string): (found: readonly Scalar[]) => boolean {
  const [base = '', bits = ''] = range.split('/');
  const start = addressOf(base);
  if (start === undefined || !/^\d{1,2}$/.test(bits) || Number(bits) > 32)
    throw new Unsupported(`the range ${range}: only those of IPv4`);
  const size = 2 ** (32 - Number(bits));
  const first = Math.floor(start / size);
  return (found) => found.some((one) => Math.floor((addressOf(String(one)) ?? -1) / size) === first);
}

function addressOf(address: string): number | undefined {
  const parts = address.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256))
    return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** `selection and not 1 of filter_*`: not before and before or. */
function readCondition(condition: string, selections: ReadonlyMap<string, Predicate>): Predicate {
  if (condition.includes('|')) throw new Unsupported('an aggregation');
  const tokens = condition.match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  const next = (word: string) => tokens[at]?.toLowerCase() === word && ++at > 0;
  const either = (): Predicate => {
    const parts = [both()];
    while (next('or')) parts.push(both());
    return parts.length === 1 ? parts[0]! : any(parts);
  };
  const both = (): Predicate => {
    const parts = [one()];
    while (next('and')) parts.push(one());
    return parts.length === 1 ? parts[0]! : all(parts);
  };
  const one = (): Predicate => {
    if (next('not')) return not(one());
    if (next('(')) {
      const inner = either();
      if (!next(')')) throw new Unsupported(`its condition: a parenthesis is not closed in ${condition}`);
      return inner;
    }
    const word = tokens[at++] ?? '';
    if (/^(1|any|all)$/i.test(word) && next('of'))
      return (word.toLowerCase() === 'all' ? all : any)(named(tokens[at++] ?? '', selections));
    const [predicate] = selections.has(word) ? [selections.get(word)!] : [];
    return predicate ?? refuse(`its condition: there is no selection ${word}`);
  };
  const whole = either();
  if (at < tokens.length) throw new Unsupported(`its condition: ${tokens[at]} is not expected`);
  return whole;
}

function named(pattern: string, selections: ReadonlyMap<string, Predicate>): Predicate[] {
  const test = pattern === 'them' ? () => true : wildcardTest(pattern, 'whole', true);
  // Of `them`, those that begin with an underscore are left out.
  const found = [...selections].filter(
    ([name]) => test(name) && !(pattern === 'them' && name.startsWith('_')),
  );
  return found.length > 0
    ? found.map(([, predicate]) => predicate)
    : refuse(`its condition: no selection is called ${pattern}`);
}

function refuse(what: string): never {
  throw new Unsupported(what);
}

function map(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
