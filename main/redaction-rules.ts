import { readFile } from 'node:fs/promises';
import { type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { parse, YAMLParseError } from 'yaml';
import { WhochangedError } from '../core/errors.js';
import { DEFAULT_REDACTION_RULES, type RedactionRuleSet } from '../core/redact/rules.js';

const Strings = Type.Array(Type.String({ minLength: 1 }));
const only = { additionalProperties: false };

const RULES: Record<keyof RedactionRuleSet, TSchema> = {
  sensitiveNames: Strings,
  safeNames: Strings,
  referenceWords: Strings,
  valuePatterns: Type.Array(
    Type.Object({ name: Type.String(), pattern: Type.String(), hint: Type.Optional(Type.String()) }, only),
  ),
  fields: Type.Array(
    Type.Object({ group: Type.String(), resource: Type.String(), path: Type.String() }, only),
  ),
};

/**
 * The default rules and those of an operator's YAML file, which are added to them: a file can't switch a default off
 * by mentioning its list, but `safeNames` can except a name.
 * @throws WhochangedError invalid_request naming the file, the rule and what is wrong
 */
export async function readRedactionRules(path: string | undefined): Promise<RedactionRuleSet> {
  if (path === undefined) return DEFAULT_REDACTION_RULES;
  const file = parseRules(path, await readFile(path, 'utf8'));
  const rules: Record<string, readonly unknown[]> = { ...DEFAULT_REDACTION_RULES };
  for (const [name, list] of Object.entries(file)) {
    const schema = Object.hasOwn(RULES, name) ? RULES[name as keyof RedactionRuleSet] : undefined;
    if (!schema) throw invalid(path, `${name}: no such rule; there are ${Object.keys(RULES).join(', ')}`);
    if (!Value.Check(schema, list)) {
      const [first] = Value.Errors(schema, list);
      throw invalid(path, `${name}${first?.instancePath ?? ''}: ${first?.message ?? 'is not valid'}`);
    }
    rules[name] = [...rules[name]!, ...(list as unknown[])];
  }
  return rules as unknown as RedactionRuleSet;
}

function parseRules(path: string, text: string): Record<string, unknown> {
  let file: unknown;
  try {
    file = parse(text) ?? {};
  } catch (error) {
    const line = error instanceof YAMLParseError ? ` in line ${error.linePos?.[0].line}` : '';
    throw invalid(path, `it is not YAML${line}`);
  }
  if (typeof file !== 'object' || file === null || Array.isArray(file))
    throw invalid(path, 'expected a map of rules');
  return file as Record<string, unknown>;
}

function invalid(path: string, problem: string): WhochangedError {
  return new WhochangedError('invalid_request', `WHOCHANGED_REDACTION_RULES_FILE ${path}: ${problem}`, {
    hint: 'see docs/redaction.md',
  });
}
