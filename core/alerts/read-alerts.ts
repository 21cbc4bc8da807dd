import { type PolicyProblem, Shape } from '../verdict/policy-shape.js';
import { BUILT_IN_RULES } from './built-in.js';
import { readFalcoRules } from './falco.js';
import { fieldNamed } from './fields.js';
import { all, not, type Predicate, predicate, Unsupported } from './matchable.js';
import { EVERYTHING } from './needs.js';
import { readReceiver } from './read-receiver.js';
import type { Receiver } from './receiver.js';
import {
  type AlertRule,
  DEFAULT_KEY,
  isState,
  SEVERITIES,
  type Severity,
  SUBJECTS,
  subjectOfParts,
} from './rule.js';
import { readSelection, readSigmaRule } from './sigma.js';

/** Rules and receivers, with what could not be used of others' rules. */
export interface Alerts {
  rules: AlertRule[];
  receivers: Receiver[];
  /** Rules of Sigma and Falco that have something that isn't supported: what. They are left out. */
  unsupported: Array<{ name: string; problem: string }>;
  /** What is older when it comes raises no alert: an import of last year's events must wake nobody. */
  maxAgeSeconds: number;
}

/** Others' rules that the file names, parsed: a document each of Sigma, a list each of Falco. */
export interface ForeignRules {
  sigma: readonly unknown[];
  falco: readonly unknown[];
}

const HOUR = 3600;
const SECONDS: Record<string, number> = { s: 1, m: 60, h: HOUR, d: 24 * HOUR };
const LONGEST = 365 * 24 * HOUR;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const RULE_KEYS = [
  ...['name', 'title', 'severity', 'on', 'match', 'except', 'newActor', 'silentFor', 'key', 'window', 'to'],
  'enabled',
];
const BUILT_IN_NAMES = BUILT_IN_RULES.map(({ name }) => String(name));
const PRIORITIES: Record<string, Severity> = {
  emergency: 'critical',
  alert: 'critical',
  critical: 'critical',
  error: 'high',
  warning: 'medium',
  notice: 'low',
};

/** Which files of others' rules a document of alerts names, as it names them. */
export function namedFiles(document: unknown): { sigma: string[]; falco: string[] } {
  const root = new Shape(document, [], []);
  return { sigma: root.texts('sigma', { example: '' }), falco: root.texts('falco', { example: '' }) };
}

/**
 * Makes rules and receivers of a parsed YAML document (docs/alerts.md) and of others' rules.
 * @returns them, or every problem with the path of what it is about
 */
export function readAlerts(
  document: unknown,
  foreign: ForeignRules,
): { alerts: Alerts } | { problems: PolicyProblem[] } {
  const problems: PolicyProblem[] = [];
  const root = new Shape(document, [], problems);
  root.only(['receivers', 'builtIn', 'rules', 'sigma', 'falco', 'to', 'window', 'maxAge']);
  root.texts('sigma', { example: '[rules/sigma.yaml]' });
  root.texts('falco', { example: '[rules/k8s_audit_rules.yaml]' });
  const receivers = root.list('receivers').map(readReceiver);
  const names = receivers.map(({ name }) => name);
  const base: Base = {
    receivers: names,
    to: root.has('to') ? root.wordsOf('to', names) : names,
    windowSeconds: duration(root, 'window', HOUR),
  };
  const builtIn = root.wordsOf('builtIn', BUILT_IN_NAMES);
  const rules: AlertRule[] = [];
  for (const wanted of BUILT_IN_RULES)
    if (builtIn.includes(String(wanted.name))) {
      const rule = readRule(new Shape(wanted, ['builtIn'], problems), base, 'built-in');
      if (rule) rules.push(rule);
    }
  for (const shape of root.list('rules')) {
    const rule = readRule(shape, base, 'own');
    if (rule && rules.some(({ name }) => name === rule.name))
      shape.problem('name', 'is another rule’s too', 'a name of its own', 'exec-in-payments');
    if (rule) rules.push(rule);
  }
  const unsupported: Alerts['unsupported'] = [];
  addForeign(foreign, base, rules, unsupported);
  for (const [i, name] of names.entries())
    if (names.indexOf(name) !== i)
      problems.push({
        path: ['receivers', i, 'name'],
        problem: 'is another receiver’s too',
        expected: 'a name of its own',
        example: 'name: oncall',
      });
  const maxAgeSeconds = duration(root, 'maxAge', 24 * HOUR);
  return problems.length > 0 ? { problems } : { alerts: { rules, receivers, unsupported, maxAgeSeconds } };
}

interface Base {
  receivers: string[];
  to: string[];
  windowSeconds: number;
}

function readRule(shape: Shape, base: Base, format: 'own' | 'built-in'): AlertRule | undefined {
  shape.only(RULE_KEYS);
  const name = shape.text('name', { required: true, example: 'exec-in-payments' });
  if (name !== '' && !NAME.test(name))
    shape.problem('name', 'is no name', 'letters, digits, dots and dashes, at most 63', 'exec-in-payments');
  const severity = shape.oneOf('severity', SEVERITIES, 'medium');
  const told = shape.has('on') ? shape.oneOf('on', SUBJECTS, undefined) : undefined;
  const stateful = told !== undefined && isState(told);
  if (!stateful && !shape.has('match'))
    shape.problem(
      'match',
      'is missing',
      'fields and values, as in a selection of Sigma',
      'match: { verb: delete }',
    );
  const match = shape.has('match') ? selection(shape, 'match') : predicate(() => true, EVERYTHING, []);
  const except = shape.has('except') ? selection(shape, 'except') : undefined;
  if (!match) return undefined;
  const matches = except ? all([match, not(except)]) : match;
  const parts = matches.parts ?? [];
  const on = told ?? subjectOfParts(parts);
  checkSubject(shape, on, parts);
  const key = shape.has('key')
    ? shape.texts('key', { required: true, example: '[cluster, username]' })
    : DEFAULT_KEY;
  for (const field of key)
    if (!fieldNamed(field))
      shape.problem('key', `names ${field}`, 'fields as in match', 'key: [cluster, username]');
  const enabled = shape.flag('enabled', true);
  const rule: AlertRule = {
    name,
    title: shape.optional('title', 'Somebody was where nobody should be') ?? name,
    severity,
    format,
    on,
    matches,
    message: undefined,
    newActorSeconds: shape.has('newActor') ? duration(shape, 'newActor', 0) : undefined,
    silentSeconds: on === 'source' ? duration(shape, 'silentFor', 600) : undefined,
    key,
    windowSeconds: duration(shape, 'window', base.windowSeconds),
    to: shape.has('to') ? shape.wordsOf('to', base.receivers) : base.to,
  };
  if (rule.newActorSeconds !== undefined && isState(on))
    shape.problem(
      'newActor',
      `is not for rules on ${on}`,
      'a rule on events, changes or verdicts',
      'on: event',
    );
  if (shape.has('silentFor') && on !== 'source')
    shape.problem('silentFor', `is not for rules on ${on}`, 'a rule on sources', 'on: source');
  return enabled ? rule : undefined;
}

/** A rule that can never match would look like a quiet cluster. */
function checkSubject(shape: Shape, on: AlertRule['on'], parts: readonly string[]): void {
  const has: Record<AlertRule['on'], readonly string[]> = {
    event: ['bodies'],
    change: ['bodies', 'change', 'diff'],
    verdict: ['bodies', 'change', 'diff', 'verdict'],
    gap: ['gap'],
    source: ['source'],
  };
  const foreign = parts.find((part) => !has[on].includes(part));
  if (foreign !== undefined)
    shape.problem(
      'match',
      `looks at the ${foreign}, which a rule on ${on} is not given`,
      `on: ${subjectOfParts(parts as never)}`,
      'on: verdict',
    );
}

function selection(shape: Shape, key: string): Predicate | undefined {
  try {
    return readSelection(shape.value(key));
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    shape.problem(
      key,
      `has ${error.message}`,
      'fields and values that docs/alerts.md tells of',
      `${key}: { verb: delete }`,
    );
    return undefined;
  }
}

/** `90s`, `10m`, `1h`, `30d` in seconds. */
function duration(shape: Shape, key: string, fallback: number): number {
  const text = shape.optional(key, '1h');
  if (text === undefined) return fallback;
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const seconds = Number(count) * (SECONDS[unit ?? ''] ?? Number.NaN);
  if (seconds > 0 && seconds <= LONGEST) return seconds;
  shape.problem(key, `is ${JSON.stringify(text)}`, 'a length of time up to a year', `${key}: 1h`);
  return fallback;
}

function addForeign(
  foreign: ForeignRules,
  base: Base,
  rules: AlertRule[],
  unsupported: Alerts['unsupported'],
): void {
  const add = (
    format: 'sigma' | 'falco',
    name: string,
    severity: Severity,
    matches: Predicate,
    message: AlertRule['message'],
  ) => {
    if (rules.some((rule) => rule.name === name)) {
      unsupported.push({ name, problem: 'another rule has this name' });
      return;
    }
    rules.push({
      name,
      title: name,
      severity,
      format,
      on: subjectOfParts(matches.parts ?? []),
      matches,
      message,
      newActorSeconds: undefined,
      silentSeconds: undefined,
      key: DEFAULT_KEY,
      windowSeconds: base.windowSeconds,
      to: base.to,
    });
  };
  for (const document of foreign.sigma) {
    try {
      const { title, level, matches } = readSigmaRule(document);
      const severity = SEVERITIES.find((one) => one === level) ?? 'medium';
      add('sigma', title, severity, matches, undefined);
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error;
      const { title } = (document ?? {}) as { title?: unknown };
      unsupported.push({ name: typeof title === 'string' ? title : 'a Sigma rule', problem: error.message });
    }
  }
  const { rules: found, problems } = readFalcoRules(foreign.falco);
  for (const { name, priority, matches, message } of found)
    add('falco', name, PRIORITIES[priority] ?? 'informational', matches, message);
  unsupported.push(...problems);
}
