import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { parse, YAMLParseError } from 'yaml';
import { WhochangedError } from '../core/errors.js';
import { type HookSecrets, NO_HOOK_SECRETS, validateHookSecrets } from '../core/hosts/hook-secrets.js';
import { openReloaded } from './reloaded-file.js';

/**
 * The secrets of webhooks in the file that WHOCHANGED_HOOKS_FILE names, read again when the file changes, so that a secret
 * is replaced without a restart. One that is no longer valid is logged, and the last good one holds on.
 * @throws WhochangedError `invalid_request` with every problem, where the file is not valid at the start
 */
export function openHookSecrets(file: string | undefined, log: Logger): () => HookSecrets {
  if (file === undefined) return () => NO_HOOK_SECRETS;
  return openReloaded(file, read, {
    changed: () => log.info('the secrets of webhooks have changed'),
    invalid: (error) =>
      log.error({ err: error }, 'the file of webhook secrets is not valid; the last good one holds on'),
  });
}

function read(file: string): HookSecrets {
  const { secrets, problems } = readSecrets(readFileSync(file, 'utf8'));
  if (problems.length === 0) return secrets;
  throw new WhochangedError(
    'invalid_request',
    `WHOCHANGED_HOOKS_FILE: ${file} can't be used:\n  ${problems.join('\n  ')}`,
    { hint: 'docs/hosts.md describes the file' },
  );
}

function readSecrets(text: string): ReturnType<typeof validateHookSecrets> {
  try {
    return validateHookSecrets(parse(text) ?? {});
  } catch (error) {
    if (!(error instanceof YAMLParseError)) throw error;
    // Its own message quotes the file, which holds secrets.
    const line = error.linePos?.[0].line ?? 1;
    return { secrets: NO_HOOK_SECRETS, problems: [`line ${line}: it is not YAML: ${error.code}`] };
  }
}
