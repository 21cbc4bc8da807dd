import { versionOfPolicy } from '../core/verdict/policy.js';
import { readPolicy } from '../core/verdict/read-policy.js';
import { parseCheckedYaml } from './checked-yaml.js';
import type { LoadedPolicy } from './policies.js';

/**
 * Reads a policy file.
 * @param origin how the file is called in messages
 * @throws WhochangedError `invalid_request` with every problem: line, path, what is wrong, what was expected, an example
 */
export function readPolicyText(text: string, origin: string): LoadedPolicy {
  const { value, invalid } = parseCheckedYaml(text, {
    name: origin,
    hint: 'docs/policy.md tells of every setting; deploy/policy.example.yaml is a whole policy',
  });
  const read = readPolicy(value);
  if ('policy' in read) return { ...versionOfPolicy(read.policy), text };
  throw invalid(read.problems);
}
