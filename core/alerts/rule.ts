import { fieldNamed } from './fields.js';
import type { Matchable, Part, Predicate } from './matchable.js';
import { scalars } from './matchable.js';

export const SEVERITIES = ['critical', 'high', 'medium', 'low', 'informational'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** What a rule looks at, one at a time: an event's last stage, a change, a verdict as it is given, a gap, a silent source. */
export const SUBJECTS = ['event', 'change', 'verdict', 'gap', 'source'] as const;
export type SubjectKind = (typeof SUBJECTS)[number];

export const RULE_FORMATS = ['own', 'built-in', 'sigma', 'falco'] as const;
export type RuleFormat = (typeof RULE_FORMATS)[number];

/** A rule that can be used. */
export interface AlertRule {
  /** Unique among those that are loaded. */
  name: string;
  title: string;
  severity: Severity;
  format: RuleFormat;
  on: SubjectKind;
  matches: Predicate;
  /** The rule's own words about a subject; undefined: it has none. */
  message: ((subject: Matchable) => string) | undefined;
  /** Only the first request of its class by its user in its namespace within so many seconds. */
  newActorSeconds: number | undefined;
  /** Of rules about sources: how long nothing must have come. */
  silentSeconds: number | undefined;
  /** Fields whose values tell one alert from another. */
  key: readonly string[];
  /** Equal matches within this of an alert are counted by it. */
  windowSeconds: number;
  /** Names of receivers. */
  to: readonly string[];
}

export const DEFAULT_KEY = ['cluster', 'namespace', 'resource', 'name', 'username'] as const;
/** Sources and gaps are alerted once for each time that they are silent, or found. */
const STATES: readonly SubjectKind[] = ['gap', 'source'];

export function isState(on: SubjectKind): boolean {
  return STATES.includes(on);
}

/** What a rule without a word of it is about: the scarcest of what its fields read. */
export function subjectOfParts(parts: readonly Part[]): SubjectKind {
  const found = (['gap', 'source', 'verdict', 'change'] as const).find((part) => parts.includes(part));
  return found ?? 'event';
}

/** The text by which equal matches are known: values of the rule's key fields. At most 1000 characters. */
export function keyOfMatch(rule: AlertRule, subject: Matchable): string {
  const values = rule.key.map((name) => scalars(fieldNamed(name)!.read(subject)).join(','));
  return values.join(' ').slice(0, 1000);
}

/** One line for a person: who did what to what, and where. Values come from redacted events. */
export function describeMatch(rule: AlertRule, subject: Matchable): string {
  const own = rule.message?.(subject).trim();
  if (own) return own.slice(0, 2000);
  const { gap, source, cluster, change, verdict } = subject;
  if (gap)
    return `events of source ${gap.source} (cluster ${cluster}) are missing: ${gap.cause.replaceAll('_', ' ')}, ${gap.since} to ${gap.until}${gap.missing === undefined ? '' : `, at least ${gap.missing}`}`;
  if (source)
    return `source ${source.name} (cluster ${cluster}) has told nothing for ${Math.round(source.silentSeconds)} s`;
  const of = (name: string) => scalars(fieldNamed(name)!.read(subject)).join(',');
  const as = of('impersonatedUser.username');
  const type = [of('apiGroup'), of('resource'), of('subresource')].filter(Boolean).join('/');
  const object = [of('namespace'), of('name')].filter(Boolean).join('/');
  const what = change
    ? change.summary
    : [of('verb'), type, object].filter(Boolean).join(' ') || of('requestURI');
  const where = change
    ? `${[type, object].filter(Boolean).join(' ')} in cluster ${cluster}`
    : `cluster ${cluster}`;
  const said = verdict
    ? `; ${verdict.verdict}${verdict.reason ? ` (${verdict.reason})` : ''} in ${verdict.environment}`
    : '';
  return `${of('username')}${as ? ` as ${as}` : ''}: ${what} — ${where}${said}`.slice(0, 2000);
}
