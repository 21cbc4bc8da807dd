import { readFileSync, statSync } from 'node:fs';
import type { Logger } from 'pino';
import { DEFAULT_POLICY, versionOfPolicy } from '../core/verdict/policy.js';
import type { LoadedPolicy } from '../store/policies.js';
import { readPolicyText } from '../store/policy-text.js';

/** What holds while no policy is configured. */
export const BUILT_IN_POLICY: LoadedPolicy = { ...versionOfPolicy(DEFAULT_POLICY), text: undefined };

/**
 * The policy that WHOCHANGED_POLICY_FILE names, read again when the file changes: a ConfigMap's file changes under a
 * running process. One that is no longer valid is logged, and the last good one holds on.
 * @throws WhochangedError `invalid_request` with every problem, where the file is not valid at the start
 */
export function openPolicy(file: string | undefined, log: Logger): () => Promise<LoadedPolicy> {
  if (file === undefined) return () => Promise.resolve(BUILT_IN_POLICY);
  let seen = stampOf(file);
  let current = read(file);
  return async () => {
    const stamp = stampOf(file);
    if (stamp === seen) return current;
    seen = stamp;
    try {
      current = read(file);
      log.info({ policy: current.version }, 'the policy of verdicts has changed');
    } catch (error) {
      log.error({ err: error }, 'the policy file is not valid; the last good one holds on');
    }
    return current;
  };
}

function read(file: string): LoadedPolicy {
  return readPolicyText(readFileSync(file, 'utf8'), `WHOCHANGED_POLICY_FILE ${file}`);
}

function stampOf(file: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(file);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return 'missing';
  }
}
