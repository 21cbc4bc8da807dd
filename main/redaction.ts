import { sha256 } from '../core/canonical.js';
import { createKeyedDigest, type KeyedDigest } from '../core/redact/keyed-digest.js';
import { compileRedactionRules, type RedactionRuleSet, type RedactionRules } from '../core/redact/rules.js';
import type { Config } from './config.js';
import { loadOrCreateKey } from './keys.js';
import { readRedactionRules } from './redaction-rules.js';

/** What redaction is done with: as it was configured, for threads of their own, and ready for use. */
export interface LoadedRedaction {
  rules: RedactionRuleSet;
  key: Uint8Array;
  redaction: { rules: RedactionRules; digest: KeyedDigest };
}

/** Reads the key, which is made on the first start, and the rules. */
export async function loadRedaction(config: Config['redaction']): Promise<LoadedRedaction> {
  const rules = await readRedactionRules(config.rulesFile);
  const key = await loadOrCreateKey(config.keyFile);
  return { rules, key, redaction: { rules: compileRedactionRules(rules), digest: createKeyedDigest(key) } };
}

/** Names what secrets are taken out by: with other rules, another key or another version the outcome may be another. */
export function redactionID({ rules, key }: LoadedRedaction, version: string): string {
  return sha256(`${version}\n${JSON.stringify(rules)}\n${sha256(key).toString('hex')}`).toString('hex');
}
