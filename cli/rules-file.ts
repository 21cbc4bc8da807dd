import { parseAllDocuments } from 'yaml';
import { readFalcoRules } from '../core/alerts/falco.js';
import { Unsupported } from '../core/alerts/matchable.js';
import { readSigmaRule } from '../core/alerts/sigma.js';

/** What a file of rules holds: those that can be used, and why others can't. */
export interface RulesFile {
  rules: Array<{ name: string; format: 'sigma' | 'falco'; severity: string }>;
  problems: Array<{ name: string; problem: string }>;
}

/** Reads a file of Sigma rules (a document each) or of Falco rules (lists); the content tells which. */
export function readRulesFile(text: string): RulesFile {
  const found: RulesFile = { rules: [], problems: [] };
  const falco: unknown[] = [];
  for (const [i, document] of parseAllDocuments(text).entries()) {
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
    if (Array.isArray(value)) {
      falco.push(value);
      continue;
    }
    try {
      const { title, level } = readSigmaRule(value);
      found.rules.push({ name: title, format: 'sigma', severity: level });
    } catch (problem) {
      if (!(problem instanceof Unsupported)) throw problem;
      const title = (value as { title?: unknown }).title;
      found.problems.push({
        name: typeof title === 'string' ? title : `document ${i + 1}`,
        problem: problem.message,
      });
    }
  }
  const { rules, problems } = readFalcoRules(falco);
  for (const { name, priority } of rules) found.rules.push({ name, format: 'falco', severity: priority });
  found.problems.push(...problems);
  return found;
}
