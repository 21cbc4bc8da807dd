import { readFile } from 'node:fs/promises';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import type { AccessEvent } from '../core/access/access-event.js';
import { sha256 } from '../core/canonical.js';
import type { KeyedDigest } from '../core/redact/keyed-digest.js';
import { appendAccessEvents, findLastAccess } from '../store/access-events.js';
import type { Config } from './config.js';

const CHECK_MS = 2000;
const SYSTEM = { caller: 'whochanged', callerKind: 'system' } as const;

/** The files of settings that are configured, by the variable that names each. */
export function settingsFiles(config: Config): Map<string, string> {
  const named: Array<[string, string | undefined]> = [
    ['WHOCHANGED_ACCESS_FILE', config.identity.accessFile],
    ['WHOCHANGED_CLIENT_CA_FILE', config.identity.clientCAFile],
    ['WHOCHANGED_POLICY_FILE', config.policyFile],
    ['WHOCHANGED_ALERTS_FILE', config.alertsFile],
    ['WHOCHANGED_HOOKS_FILE', config.hooksFile],
    ['WHOCHANGED_REPORTS_FILE', config.reportsFile],
    ['WHOCHANGED_IDENTITIES_FILE', config.identitiesFile],
    ['WHOCHANGED_REDACTION_RULES_FILE', config.redaction.rulesFile],
    ['WHOCHANGED_GIT_ALLOWED_SIGNERS_FILE', config.git.allowedSignersFile],
    ['WHOCHANGED_GIT_KEYRING_FILE', config.git.keyringFile],
  ];
  return new Map(named.filter((item): item is [string, string] => item[1] !== undefined));
}

/** It holds secrets, and a plain digest of a short one can be guessed at. */
const SECRET = 'WHOCHANGED_HOOKS_FILE';

/**
 * Records in the ledger's own access events which files of settings were in force, and when that changed: an access event
 * of whochanged itself, with the file's SHA-256 (keyed, where it holds secrets). A file that says who may see what, or what is approved, is a setting too,
 * and whoever edits it asks no API. Several processes with the same file make one event.
 * @returns what stops it
 */
export function recordSettings(
  pool: Pool,
  files: ReadonlyMap<string, string>,
  keyedDigest: KeyedDigest,
  log: Logger,
): () => void {
  const known = new Map<string, string>();
  let running = false;
  const check = async () => {
    if (running) return;
    running = true;
    for (const [variable, file] of files) {
      try {
        const content = await readFile(file);
        const target =
          variable === SECRET
            ? `keyed:${keyedDigest(content.toString('latin1'))}`
            : `sha256:${sha256(content).toString('hex')}`;
        if (known.get(variable) === target) continue;
        await record(pool, `file ${variable}`, target);
        known.set(variable, target);
      } catch (error) {
        // Postgres may be away, or the file be replaced at this moment: the next look makes up for it.
        log.debug({ err: error, variable }, 'a file of settings could not be recorded yet');
      }
    }
    running = false;
  };
  void check();
  const timer = setInterval(() => void check(), CHECK_MS).unref();
  return () => clearInterval(timer);
}

async function record(pool: Pool, route: string, target: string): Promise<void> {
  const last = await findLastAccess(pool, { ...SYSTEM, route });
  if (last?.target === target) return;
  const event: AccessEvent = {
    ...SYSTEM,
    at: Date.now() * 1000,
    role: null,
    clusters: null,
    namespaces: null,
    grants: null,
    method: 'LOAD',
    route,
    target,
    asked: null,
    status: 200,
    sourceIP: '',
    requestID: '',
  };
  await appendAccessEvents(pool, [event]);
}
