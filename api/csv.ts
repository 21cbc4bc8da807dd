import { csvCells } from '../core/csv.js';
import type { ChangeItem } from './change-schema.js';

const COLUMNS: ReadonlyArray<
  readonly [name: string, value: (item: ChangeItem) => string | number | undefined]
> = [
  ['at', (item) => item.at],
  ['cluster', (item) => item.cluster],
  ['class', (item) => item.class],
  ['kind', (item) => item.kind],
  ['actor', (item) => item.actor.username],
  ['impersonated_user', (item) => item.actor.impersonatedUser?.username],
  ['tool', (item) => item.tool.name],
  ['verb', (item) => item.verb],
  ['code', (item) => item.code],
  ['group', (item) => item.object.group],
  ['resource', (item) => item.object.resource],
  ['subresource', (item) => item.object.subresource],
  ['namespace', (item) => item.object.namespace],
  ['name', (item) => item.object.name],
  ['summary', (item) => item.summary],
  ['fields', (item) => item.diff?.map((change) => change.path).join(' ')],
  ['certainty', (item) => item.certainty?.summary],
  ['flags', (item) => item.flags.join(' ')],
  ['root', (item) => item.attribution?.root?.text],
  ['trigger', (item) => item.attribution?.trigger?.id],
  ['triggered_by', (item) => item.attribution?.trigger?.actor],
  ['commits', (item) => commitsOf(item).join(' ')],
  ['link', (item) => item.link && `${item.link.rule} ${item.link.strength}`],
  ['pull_requests', (item) => item.approval?.pullRequests.map(({ url }) => url).join(' ')],
  ['approvers', (item) => item.approval?.approvers.join(' ')],
  ['verdict', (item) => item.verdict?.verdict],
  ['reason', (item) => item.verdict?.reason],
  ['environment', (item) => item.verdict?.environment],
  ['root_verdict', (item) => item.verdict?.root?.verdict],
  ['audit_id', (item) => item.auditID],
  ['id', (item) => item.id],
];

function commitsOf(item: ChangeItem): string[] {
  return item.link?.sources.flatMap(({ sha }) => sha ?? []) ?? [];
}

export function csvHeader(): string {
  return csvCells(COLUMNS.map(([name]) => name));
}

export function csvLine(item: ChangeItem): string {
  return csvCells(COLUMNS.map(([, value]) => value(item)));
}
