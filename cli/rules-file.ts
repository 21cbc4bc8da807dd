import { dirname, resolve } from 'node:path';
import { readFalcoRules } from '../core/alerts/falco.js';
import { Unsupported } from '../core/alerts/matchable.js';
import { namedFiles, readAlerts } from '../core/alerts/read-alerts.js';
import { readSigmaRule } from '../core/alerts/sigma.js';
import { formatPolicyPath } from '../core/verdict/policy-shape.js';
import { yaml } from './on-demand.js';

/** What a file of rules holds: those that can be used, and why others can't. */
export interface RulesFile {
  rules: Array<{ name: string; format: string; severity: string }>;
  problems: Array<{ name: string; problem: string }>;
}

/** Words of which a file of our own has one at least, and a rule of Sigma none. */
const OWN_KEYS = ['rules', 'receivers', 'builtIn', 'sigma', 'falco'];

/**
 * Reads a file of Sigma rules (a document each), of Falco rules (lists), or of our own; the content tells which.
 * @param readOther the text of a file that a file of our own names
 */
export function readRulesFile(text: string, readOther: (name: string) => string): RulesFile {
  const found: RulesFile = { rules: [], problems: [] };
  const falco: unknown[] = [];
  for (const [i, document] of yaml().parseAllDocuments(text).entries()) {
    const [error] = document.errors;
    if (error) {
      const line = error.linePos?.[0].line ?? 1;
      found.problems.push({
        name: `document ${i + 1}`,
        problem: `line ${line}: it is not YAML: ${error.code}`,
      });
      continue;
    }
    const value: unknown = document.toJS();
    if (value === null) continue;
    if (Array.isArray(value)) falco.push(value);
    else if (isOwn(value)) addOwn(value, readOther, found);
    else addSigma(value, `document ${i + 1}`, found);
  }
  const { rules, problems } = readFalcoRules(falco);
  for (const { name, priority } of rules) found.rules.push({ name, format: 'falco', severity: priority });
  found.problems.push(...problems);
  return found;
}

/** Whether a parsed document is a file of our own, with receivers and rules. */
export function isOwn(value: unknown): boolean {
  return typeof value === 'object' && value !== null && OWN_KEYS.some((key) => key in value);
}

/** The documents of a file that can be parsed. */
export function documentsOf(text: string): unknown[] {
  return yaml()
    .parseAllDocuments(text)
    .flatMap((document) => {
      const value: unknown = document.errors.length > 0 ? null : document.toJS();
      return value === null ? [] : [value];
    });
}

/** Reads files beside another one. */
export function besideFile(file: string, read: (file: string) => string): (name: string) => string {
  return (name) => read(resolve(dirname(file), name));
}

function addOwn(value: unknown, readOther: (name: string) => string, found: RulesFile): void {
  const { sigma, falco } = namedFiles(value);
  const read = readAlerts(value, {
    sigma: sigma.flatMap((name) => documentsOf(readOther(name))),
    falco: falco.flatMap((name) => documentsOf(readOther(name))),
  });
  if ('problems' in read) {
    for (const { path, problem, expected } of read.problems)
      found.problems.push({ name: formatPolicyPath(path), problem: `${problem}; expected ${expected}` });
    return;
  }
  found.rules.push(...read.alerts.rules);
  found.problems.push(...read.alerts.unsupported);
}

function addSigma(value: unknown, fallback: string, found: RulesFile): void {
  try {
    const { title, level } = readSigmaRule(value);
    found.rules.push({ name: title, format: 'sigma', severity: level });
  } catch (problem) {
    if (!(problem instanceof Unsupported)) throw problem;
    const title = (value as { title?: unknown }).title;
    found.problems.push({ name: typeof title === 'string' ? title : fallback, problem: problem.message });
  }
}
