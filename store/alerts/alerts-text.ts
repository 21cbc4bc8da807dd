import { parseAllDocuments } from 'yaml';
import { type Alerts, namedFiles, readAlerts } from '../../core/alerts/read-alerts.js';
import { parseCheckedYaml } from '../checked-yaml.js';

const HINT = 'docs/alerts.md tells of every setting; deploy/alerts.example.yaml is a whole file';

/**
 * Reads a file of alert rules and receivers, with the files of Sigma's and Falco's rules that it names.
 * @param origin how the file is called in messages
 * @param readOther the text of a file that it names, by the name that it has there
 * @throws WhochangedError `invalid_request` with every problem and its line
 */
export function readAlertsText(text: string, origin: string, readOther: (name: string) => string): Alerts {
  const { value, invalid } = parseCheckedYaml(text, { name: origin, hint: HINT });
  const foreign: { sigma: unknown[]; falco: unknown[] } = { sigma: [], falco: [] };
  const { sigma, falco } = namedFiles(value);
  const unreadable: Alerts['unsupported'] = [];
  for (const [names, into] of [
    [sigma, foreign.sigma],
    [falco, foreign.falco],
  ] as const)
    for (const name of names)
      try {
        into.push(...documentsOf(readOther(name), name));
      } catch (error) {
        unreadable.push({ name, problem: (error as Error).message });
      }
  const read = readAlerts(value, foreign);
  if ('problems' in read) throw invalid(read.problems);
  return { ...read.alerts, unsupported: [...unreadable, ...read.alerts.unsupported] };
}

function documentsOf(text: string, name: string): unknown[] {
  return parseAllDocuments(text).flatMap((document) => {
    const [error] = document.errors;
    if (error) throw new Error(`${name}, line ${error.linePos?.[0].line ?? 1}: it is not YAML`);
    const value: unknown = document.toJS();
    return value === null ? [] : [value];
  });
}
