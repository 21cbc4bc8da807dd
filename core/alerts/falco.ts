import { readFalcoCondition } from './falco-condition.js';
import { falcoField } from './falco-fields.js';
import { type Matchable, type Predicate, scalars, Unsupported } from './matchable.js';

/** A Falco rule that can be used here. */
export interface FalcoRule {
  name: string;
  priority: string;
  matches: Predicate;
  /** The rule's own message about an event. */
  message(subject: Matchable): string;
}

export interface FalcoProblem {
  /** The rule, macro or list; its place in the file where it has no name. */
  name: string;
  problem: string;
}

interface Entry {
  [key: string]: unknown;
}

/**
 * Reads rules files of Falco, in the order in which Falco is given them: lists, macros and rules of source k8s_audit. What
 * isn't supported costs only its own rule, and is named.
 */
export function readFalcoRules(documents: readonly unknown[]): {
  rules: FalcoRule[];
  problems: FalcoProblem[];
} {
  const problems: FalcoProblem[] = [];
  const kinds = {
    list: new Map<string, Entry>(),
    macro: new Map<string, Entry>(),
    rule: new Map<string, Entry>(),
  };
  let place = 0;
  for (const document of documents)
    for (const entry of (Array.isArray(document) ? document : [document]) as unknown[]) {
      place++;
      if (typeof entry !== 'object' || entry === null) {
        problems.push({ name: `entry ${place}`, problem: 'it is not a map' });
        continue;
      }
      const kind = (['list', 'macro', 'rule'] as const).find((one) => one in entry);
      // What the engine and the plugins must be is Falco's matter.
      if (kind) merge(kinds[kind], kind, entry as Entry, problems);
    }
  const lists = new Map([...kinds.list].map(([name, entry]) => [name, texts(entry.items)]));
  const macros = new Map([...kinds.macro].map(([name, entry]) => [name, String(entry.condition ?? '')]));
  const rules: FalcoRule[] = [];
  for (const [name, entry] of kinds.rule) {
    if (entry.enabled === false) continue;
    try {
      rules.push(readRule(name, entry, lists, macros));
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error;
      problems.push({ name, problem: error.message });
    }
  }
  return { rules, problems };
}

function merge(
  known: Map<string, Entry>,
  kind: 'list' | 'macro' | 'rule',
  entry: Entry,
  problems: FalcoProblem[],
): void {
  const name = String(entry[kind]);
  const before = known.get(name);
  if (entry.override !== undefined) {
    // Left as it was, it would match something else than was meant.
    problems.push({ name, problem: 'an override; write the whole rule' });
    if (kind === 'rule') known.delete(name);
    return;
  }
  if (entry.append === true && before) {
    if (kind === 'list') before.items = [...texts(before.items), ...texts(entry.items)];
    else before.condition = `${String(before.condition ?? '')} ${String(entry.condition ?? '')}`;
    if (entry.exceptions !== undefined) before.exceptions = entry.exceptions;
  } else if (before && entry.condition === undefined && typeof entry.enabled === 'boolean')
    before.enabled = entry.enabled;
  else known.set(name, { ...entry });
}

function readRule(
  name: string,
  entry: Entry,
  lists: ReadonlyMap<string, string[]>,
  macros: ReadonlyMap<string, string>,
): FalcoRule {
  if (entry.source !== 'k8s_audit')
    throw new Unsupported(`its source is ${String(entry.source ?? 'syscall')}, not k8s_audit`);
  const exceptions = Array.isArray(entry.exceptions) ? (entry.exceptions as Entry[]) : [];
  if (exceptions.some(({ values }) => Array.isArray(values) && values.length > 0))
    throw new Unsupported('exceptions with values; write them into the condition');
  const matches = readFalcoCondition(String(entry.condition ?? ''), lists, macros);
  return {
    name,
    priority: String(entry.priority ?? 'notice').toLowerCase(),
    matches,
    message: messageOf(entry),
  };
}

function messageOf(entry: Entry): FalcoRule['message'] {
  const output = String(entry.output ?? '').trim();
  return (subject) =>
    output.replace(/%([a-z][a-zA-Z0-9_.]*(?:\[[^\]]*\])?)/g, (_, field: string) => {
      // A full stop after a field belongs to the sentence.
      const name = field.replace(/\.$/, '');
      const values = scalars(falcoField(name)?.read(subject) ?? []);
      return (values.length > 0 ? values.join(',') : '<NA>') + field.slice(name.length);
    });
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
