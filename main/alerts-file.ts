import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Logger } from 'pino';
import { type Alerts, namedFiles } from '../core/alerts/read-alerts.js';
import { readAlertsText } from '../store/alerts/alerts-text.js';
import { parseCheckedYaml } from '../store/checked-yaml.js';
import { openReloaded } from './reloaded-file.js';

/**
 * The rules and receivers of alerts in the file that WHOCHANGED_ALERTS_FILE names, read again when it changes, or a file of
 * others' rules that it names. One that is no longer valid is logged, and the last good one holds on. Rules of others that
 * can't be used are named in the log at each load.
 * @throws WhochangedError `invalid_request` with every problem, where the file is not valid at the start
 */
export function openAlerts(file: string | undefined, log: Logger): (() => Alerts) | undefined {
  if (file === undefined) return undefined;
  const named = (alerts: Alerts) => {
    for (const { name, problem } of alerts.unsupported)
      log.warn(
        { rule: name, problem },
        'a rule for alerts is left out: it has something that is not supported',
      );
  };
  const current = openReloaded(
    file,
    (path) => {
      const alerts = readAlertsText(readFileSync(path, 'utf8'), `WHOCHANGED_ALERTS_FILE ${path}`, (name) =>
        readFileSync(resolve(dirname(path), name), 'utf8'),
      );
      named(alerts);
      return alerts;
    },
    {
      changed: ({ rules }) => log.info({ rules: rules.length }, 'the rules for alerts have changed'),
      invalid: (error) =>
        log.error({ err: error }, 'the file of alert rules is not valid; the last good one holds on'),
    },
    namedBy,
  );
  return current;
}

/** The files that a file of alerts names; none where it can't be read. */
function namedBy(file: string): string[] {
  try {
    const { value } = parseCheckedYaml(readFileSync(file, 'utf8'), { name: file, hint: '' });
    const { sigma, falco } = namedFiles(value);
    return [...sigma, ...falco].map((name) => resolve(dirname(file), name));
  } catch {
    return [];
  }
}
