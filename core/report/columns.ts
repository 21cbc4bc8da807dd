import type { ReportRow } from './report.js';

/** The columns of a population as CSV. */
export const REPORT_COLUMNS: ReadonlyArray<readonly [name: string, value: (row: ReportRow) => string]> = [
  ['at', (row) => row.at],
  ['exception', (row) => (row.exception ? 'yes' : 'no')],
  ['cluster', (row) => row.cluster],
  ['namespace', (row) => row.namespace],
  ['object', (row) => row.object],
  ['summary', (row) => row.summary],
  ['actor', (row) => row.actor],
  ['verdict', (row) => row.verdict ?? ''],
  ['detail', (row) => row.detail ?? ''],
  ['commits', (row) => (row.commits ?? []).join(' ')],
  ['approvers', (row) => (row.approvers ?? []).join(' ')],
  ['id', (row) => row.id],
];
