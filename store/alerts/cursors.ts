import { sql } from 'kysely';
import type { ClientBase } from 'pg';
import type { AlertRule } from '../../core/alerts/rule.js';
import { moveCursor, readCursor } from '../attribution.js';
import { compiled, type RowSubject, type Span, type SubjectRow, subjectStatement } from './subjects.js';

/** Of which column each subject's rows are numbered in the order of commit. */
const NUMBERED: Record<RowSubject, { table: string; column: string }> = {
  event: { table: 'events', column: 'seq' },
  change: { table: 'changes', column: 'seq' },
  verdict: { table: 'verdicts', column: 'id' },
};
/** A transaction takes a block of so many numbers (migrations/001-ledger.sql); one step goes over several transactions. */
const STEP: Record<RowSubject, bigint> = { event: 65_536n * 64n, change: 65_536n * 64n, verdict: 100_000n };

function cursorName(subject: RowSubject): string {
  return `alerts-${subject}s`;
}

/**
 * How far rows have been looked through. Alerts begin when they are first switched on: what was there before is history,
 * and for `alert test`. Clusters that come later are looked through from their first event.
 */
export async function alertCursor(
  client: ClientBase,
  clusterID: number,
  subject: RowSubject,
): Promise<string> {
  return readCursor(client, cursorName(subject), clusterID);
}

/** Lets alerts begin now, for each cluster there is, where they have not begun. */
export async function beginAlerts(client: ClientBase, clusterIDs: readonly number[]): Promise<void> {
  for (const subject of ['event', 'change', 'verdict'] as const) {
    const job = cursorName(subject);
    // The row of no cluster says that they have begun.
    const { rowCount } = await client.query('select from job_cursors where job = $1 and cluster_id = 0', [
      job,
    ]);
    if (rowCount) continue;
    for (const clusterID of clusterIDs)
      await moveCursor(client, job, clusterID, await endOf(client, clusterID, subject));
    await moveCursor(client, job, 0, '0');
  }
}

/** Where a cluster ends now. Events have a coarse index only: the last change tells from where on to look for their end. */
async function endOf(client: ClientBase, clusterID: number, subject: RowSubject): Promise<string> {
  const change = subject === 'event' ? await lastNumber(client, clusterID, 'change', '-1') : undefined;
  return (await lastNumber(client, clusterID, subject, change ?? '-1')) ?? change ?? '-1';
}

export async function moveAlertCursor(
  client: ClientBase,
  clusterID: number,
  subject: RowSubject,
  to: string,
): Promise<void> {
  await moveCursor(client, cursorName(subject), clusterID, to);
}

/** The last number that was committed after another. Within a cluster numbers are committed in their order. */
export async function lastNumber(
  client: ClientBase,
  clusterID: number,
  subject: RowSubject,
  after: string,
): Promise<string | undefined> {
  const { table, column } = NUMBERED[subject];
  const { rows } = await client.query<{ last: string | null }>(
    `select max(${column}) as last from ${table} where cluster_id = $1 and ${column} > $2`,
    [clusterID, after],
  );
  return rows[0]?.last ?? undefined;
}

/** The next rows that some of these rules may match, at most about `limit`, and up to where rows were looked through. */
export async function nextRows(
  client: ClientBase,
  clusterID: number,
  subject: RowSubject,
  rules: readonly AlertRule[],
  place: { after: string; last: string; notBefore: string },
  limit: number,
): Promise<{ rows: SubjectRow[]; end: string }> {
  // A cluster that came late begins where its first row is: numbers are shared with the others.
  const after = place.after === '-1' ? await beforeFirst(client, clusterID, subject) : place.after;
  const step = BigInt(after) + STEP[subject];
  const until = step < BigInt(place.last) ? String(step) : place.last;
  const span: Span = { after, until, notBefore: place.notBefore };
  const statement = subjectStatement(subject, clusterID, rules, span);
  const { rows } = await client.query<SubjectRow>(compiled(sql`${statement} limit ${limit}`));
  if (rows.length < limit) return { rows, end: until };
  // Items of one deletecollection share a number, and are not torn apart.
  const last = rows.at(-1)!.number;
  const whole = rows.filter(({ number }) => number !== last);
  if (whole.length > 0) return { rows: whole, end: whole.at(-1)!.number };
  const one = subjectStatement(subject, clusterID, rules, { ...span, until: last });
  return { rows: (await client.query<SubjectRow>(compiled(one))).rows, end: last };
}

async function beforeFirst(client: ClientBase, clusterID: number, subject: RowSubject): Promise<string> {
  const { table, column } = NUMBERED[subject];
  const { rows } = await client.query<{ first: string | null }>(
    `select min(${column}) as first from ${table} where cluster_id = $1`,
    [clusterID],
  );
  return String(BigInt(rows[0]?.first ?? '0') - 1n);
}
