import type { ClientBase } from 'pg';
import type { ImportedApproval } from '../../core/approval/facts.js';
import { personRow, timeRow } from './person.js';

/**
 * Writes approvals; one that is told again under its origin and id replaces nothing.
 * @returns how many were new
 */
export async function appendApprovals(
  client: Pick<ClientBase, 'query'>,
  approvals: readonly ImportedApproval[],
): Promise<number> {
  if (approvals.length === 0) return 0;
  const rows = approvals.map(({ id, subject, approver, approvedAt, origin, url }) => ({
    origin,
    approval_id: id,
    subject_kind: subject.kind,
    repo: subject.kind === 'commit' ? subject.repo : '',
    subject: subject.kind === 'commit' ? subject.sha : subject.kind === 'image' ? subject.digest : subject.id,
    approver: personRow(approver),
    approved_at: timeRow(approvedAt),
    url: url ?? null,
  }));
  const { rowCount } = await client.query(
    `insert into imported_approvals (origin, approval_id, subject_kind, repo, subject, approver, approved_at, url)
     select origin, approval_id, subject_kind, repo, subject, approver, approved_at, url
       from jsonb_to_recordset($1::jsonb) as r (origin text, approval_id text, subject_kind text, repo text,
            subject text, approver jsonb, approved_at timestamptz, url text)
     on conflict (origin, approval_id) do nothing`,
    [JSON.stringify(rows)],
  );
  return rowCount ?? 0;
}
