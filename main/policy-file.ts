import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { DEFAULT_POLICY, versionOfPolicy } from '../core/verdict/policy.js';
import type { LoadedPolicy } from '../store/policies.js';
import { readPolicyText } from '../store/policy-text.js';
import { openReloaded } from './reloaded-file.js';

/** What holds while no policy is configured. */
export const BUILT_IN_POLICY: LoadedPolicy = { ...versionOfPolicy(DEFAULT_POLICY), text: undefined };

/**
 * The policy that WHOCHANGED_POLICY_FILE names, read again when the file changes: a ConfigMap's file changes under a
 * running process. One that is no longer valid is logged, and the last good one holds on.
 * @throws WhochangedError `invalid_request` with every problem, where the file is not valid at the start
 */
export function openPolicy(file: string | undefined, log: Logger): () => Promise<LoadedPolicy> {
  if (file === undefined) return () => Promise.resolve(BUILT_IN_POLICY);
  const current = openReloaded(file, read, {
    changed: ({ version }) => log.info({ policy: version }, 'the policy of verdicts has changed'),
    invalid: (error) => log.error({ err: error }, 'the policy file is not valid; the last good one holds on'),
  });
  return () => Promise.resolve(current());
}

function read(file: string): LoadedPolicy {
  return readPolicyText(readFileSync(file, 'utf8'), `WHOCHANGED_POLICY_FILE ${file}`);
}
