import type { ClientBase } from 'pg';
import type { ImportedApproval } from '../../core/approval/facts.js';
import { personRow, timeRow } from './person.js';

type Client = Pick<ClientBase, 'query'>;

const RECORDS = `jsonb_to_recordset($1::jsonb) as r (place integer, origin text, approval_id text, subject_kind text,
            repo text, subject text, approver jsonb, approved_at timestamptz, url text)`;

function approvalRows(approvals: readonly ImportedApproval[]): string {
  const rows = approvals.map(({ id, subject, approver, approvedAt, origin, url }, place) => ({
    place,
    origin,
    approval_id: id,
    subject_kind: subject.kind,
    repo: subject.kind === 'commit' ? subject.repo : '',
    subject: subject.kind === 'commit' ? subject.sha : subject.kind === 'image' ? subject.digest : subject.id,
    approver: personRow(approver),
    approved_at: timeRow(approvedAt),
    url: url ?? null,
  }));
  return JSON.stringify(rows);
}

/**
 * Writes approvals; one that is told again under its origin and id replaces nothing.
 * @returns how many were new
 */
export async function appendApprovals(
  client: Client,
  approvals: readonly ImportedApproval[],
): Promise<number> {
  if (approvals.length === 0) return 0;
  const { rowCount } = await client.query(
    `insert into imported_approvals (origin, approval_id, subject_kind, repo, subject, approver, approved_at, url)
     select origin, approval_id, subject_kind, repo, subject, approver, approved_at, url from ${RECORDS} order by place
     on conflict (origin, approval_id) do nothing`,
    [approvalRows(approvals)],
  );
  return rowCount ?? 0;
}

/** Places in the list of those whose id stands, in the store, for another approval than this. */
export async function findContradicted(
  client: Client,
  approvals: readonly ImportedApproval[],
): Promise<Set<number>> {
  const { rows } = await client.query<{ place: number }>(
    `select r.place from ${RECORDS}
       join imported_approvals a on a.origin = r.origin and a.approval_id = r.approval_id
      where (a.subject_kind, a.repo, a.subject, a.approver, a.approved_at)
            is distinct from (r.subject_kind, r.repo, r.subject, r.approver, r.approved_at)`,
    [approvalRows(approvals)],
  );
  return new Set(rows.map((row) => row.place));
}
