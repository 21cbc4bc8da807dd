import type { Change } from './changes.js';

type Cell = string | number | boolean | null | undefined;

/** The columns of the API's CSV export of changes. */
const CHANGE_COLUMNS: ReadonlyArray<readonly [name: string, value: (change: Change) => Cell]> = [
  ['at', (change) => change.at],
  ['cluster', (change) => change.cluster],
  ['class', (change) => change.class],
  ['kind', (change) => change.kind],
  ['actor', (change) => change.actor.username],
  ['impersonated_user', (change) => change.actor.impersonatedUser?.username],
  ['tool', (change) => change.tool.name],
  ['verb', (change) => change.verb],
  ['code', (change) => change.code],
  ['group', (change) => change.object.group],
  ['resource', (change) => change.object.resource],
  ['subresource', (change) => change.object.subresource],
  ['namespace', (change) => change.object.namespace],
  ['name', (change) => change.object.name],
  ['summary', (change) => change.summary],
  ['fields', (change) => change.diff?.map((field) => field.path).join(' ')],
  ['certainty', (change) => change.certainty?.summary],
  ['flags', (change) => change.flags.join(' ')],
  ['root', (change) => change.attribution?.root?.text],
  ['trigger', (change) => change.attribution?.trigger?.id],
  ['triggered_by', (change) => change.attribution?.trigger?.actor],
  ['commits', (change) => change.link?.sources.flatMap(({ sha }) => sha ?? []).join(' ')],
  ['link', (change) => change.link && `${change.link.rule} ${change.link.strength}`],
  ['pull_requests', (change) => change.approval?.pullRequests.map(({ url }) => url).join(' ')],
  ['approvers', (change) => change.approval?.approvers.join(' ')],
  ['verdict', (change) => change.verdict?.verdict],
  ['reason', (change) => change.verdict?.reason],
  ['environment', (change) => change.verdict?.environment],
  ['root_verdict', (change) => change.verdict?.root?.verdict],
  ['audit_id', (change) => change.auditID],
  ['id', (change) => change.id],
];

export function changesCsv(changes: Change[], head = true): string {
  const lines = changes.map((change) => csvLine(CHANGE_COLUMNS.map(([, value]) => value(change))));
  return (head ? csvLine(CHANGE_COLUMNS.map(([name]) => name)) : '') + lines.join('');
}

/** Fields, each with a row: values that are maps or lists stand as JSON. */
export function fieldsCsv<T extends object>(
  names: ReadonlyArray<keyof T & string>,
): (rows: object[]) => string {
  return (rows) =>
    [
      csvLine([...names]),
      ...(rows as T[]).map((row) =>
        csvLine(
          names.map((name) => {
            const value: unknown = row[name];
            return typeof value === 'object' && value !== null ? JSON.stringify(value) : (value as Cell);
          }),
        ),
      ),
    ].join('');
}

/** Any list: a column for each value found in its items, under its path in JSON; lists within as JSON. */
export function rowsCsv(items: object[]): string {
  const rows = items.map((item) => new Map(valuesOf(item, '')));
  const names = [...new Set(rows.flatMap((row) => [...row.keys()]))];
  if (names.length === 0) return '';
  return [csvLine(names), ...rows.map((row) => csvLine(names.map((name) => row.get(name))))].join('');
}

function valuesOf(item: object, path: string): Array<[string, Cell]> {
  return Object.entries(item).flatMap(([key, value]: [string, unknown]): Array<[string, Cell]> => {
    if (value === null || typeof value !== 'object') return [[path + key, value as Cell]];
    return Array.isArray(value) ? [[path + key, JSON.stringify(value)]] : valuesOf(value, `${path}${key}.`);
  });
}

/** RFC 4180. A cell that a spreadsheet would take for a formula is made text by an apostrophe. */
function csvLine(cells: Cell[]): string {
  const texts = cells.map((cell) => {
    if (typeof cell !== 'string') return String(cell ?? '');
    const text = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return `${texts.join(',')}\r\n`;
}
