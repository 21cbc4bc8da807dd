import type { ClientBase } from 'pg';
import { formatMicros } from '../../core/timestamp.js';
import type { VerdictName, VerdictReason } from '../../core/verdict/verdict.js';
import type { ChangeKey } from './subjects.js';

/** The newest verdicts of changes, by change id; those that have none yet are left out. */
export async function findCurrentVerdicts(
  client: ClientBase,
  clusterID: number,
  keys: readonly ChangeKey[],
): Promise<Map<string, { verdict: VerdictName; reason?: VerdictReason }>> {
  if (keys.length === 0) return new Map();
  const { rows } = await client.query<{
    change_id: string;
    verdict: VerdictName;
    reason: VerdictReason | null;
  }>({
    name: 'verdicts-of-roots',
    text: `select v.change_id, v.verdict, v.reason from unnest($2::timestamptz[], $3::uuid[]) as q (at, id)
             join current_verdicts v on v.cluster_id = $1 and v.at = q.at and v.change_id = q.id
            where v.verdict is not null`,
    values: [clusterID, keys.map(({ at }) => formatMicros(at)), keys.map(({ changeID }) => changeID)],
  });
  return new Map(
    rows.map((row) => [
      row.change_id,
      { verdict: row.verdict, ...(row.reason !== null && { reason: row.reason }) },
    ]),
  );
}

/** Who wrote each object last before these changes, by change id: what a controller then takes back. */
export async function findFormerWriters(
  client: ClientBase,
  clusterID: number,
  questions: ReadonlyArray<{ objectID: string; key: ChangeKey }>,
): Promise<Map<string, { changeID: string; username: string }>> {
  if (questions.length === 0) return new Map();
  const { rows } = await client.query<{ of: string; change_id: string; username: string }>({
    name: 'former-writers',
    text: `select q.id as of, c.change_id, u.username
             from unnest($2::uuid[], $3::timestamptz[], $4::uuid[]) as q (object_id, at, id)
             join changes own on own.cluster_id = $1 and own.at = q.at and own.change_id = q.id
            cross join lateral (
              select change_id, user_id from (
                select * from changes where cluster_id = $1 and object_id = q.object_id and at < q.at
                 order by at desc limit 50) r
               where class = 'change' order by at desc limit 1) c
             join users u on u.cluster_id = $1 and u.id = c.user_id
            where c.user_id <> own.user_id`,
    values: [
      clusterID,
      questions.map(({ objectID }) => objectID),
      questions.map(({ key }) => formatMicros(key.at)),
      questions.map(({ key }) => key.changeID),
    ],
  });
  return new Map(rows.map((row) => [row.of, { changeID: row.change_id, username: row.username }]));
}
