import type { ClientBase } from 'pg';
import type { ApplicationAction } from '../../core/links/application-actions.js';
import type { OverrideSetter } from '../../core/links/evidence.js';
import { formatMicros } from '../../core/timestamp.js';

/** What somebody asked of a GitOps controller, by the write of its object that asked for it. */
export interface ActionRow {
  at: number;
  changeID: string;
  objectID: string;
  namespace: string;
  name: string;
  username: string;
  action: ApplicationAction;
  initiator: string | undefined;
  initiatorEvidence: string | undefined;
}

/** Writes what was asked for; told again, only who asked may become known. */
export async function upsertActions(
  client: ClientBase,
  clusterID: number,
  actions: readonly ActionRow[],
): Promise<void> {
  if (actions.length === 0) return;
  const rows = actions.map((row) => ({
    at: formatMicros(row.at),
    change_id: row.changeID,
    action: row.action.action,
    object_id: row.objectID,
    namespace: row.namespace,
    name: row.name,
    username: row.username,
    initiator: row.initiator ?? null,
    initiator_evidence: row.initiatorEvidence ?? null,
    detail: row.action,
  }));
  await client.query(
    `insert into application_actions (cluster_id, at, change_id, action, object_id, namespace, name, username, initiator, initiator_evidence, detail)
     select $1, at, change_id, action, object_id, namespace, name, username, initiator, initiator_evidence, detail
       from jsonb_to_recordset($2::jsonb) as r (at timestamptz, change_id uuid, action text, object_id uuid, namespace text,
            name text, username text, initiator text, initiator_evidence text, detail jsonb)
     on conflict (cluster_id, at, change_id, action) do update
       set initiator = coalesce(excluded.initiator, application_actions.initiator),
           initiator_evidence = coalesce(excluded.initiator_evidence, application_actions.initiator_evidence)`,
    [clusterID, JSON.stringify(rows)],
  );
}

/** An application's object, and a time, in microseconds. */
export interface SetterQuestion {
  clusterID: number;
  objectID: string;
  at: number;
}

export function setterKey({ clusterID, objectID, at }: SetterQuestion): string {
  return `${clusterID} ${objectID} ${at}`;
}

/** Who last set what replaces what git says by each time, by setterKey; none where it was removed since. */
export async function findOverrideSetters(
  client: ClientBase,
  questions: readonly SetterQuestion[],
): Promise<Map<string, OverrideSetter>> {
  if (questions.length === 0) return new Map();
  const asked = [...new Map(questions.map((question) => [setterKey(question), question])).values()];
  const { rows } = await client.query<{
    n: number;
    username: string;
    change_id: string;
    settings: string | null;
  }>({
    name: 'override-setters',
    text: `select q.n::int, a.username, a.change_id, a.detail->>'detail' as settings
             from unnest($1::integer[], $2::uuid[], $3::timestamptz[]) with ordinality as q (cluster_id, object_id, at, n)
            cross join lateral (
              select * from application_actions
               where cluster_id = q.cluster_id and object_id = q.object_id and at <= q.at
                 and action in ('override_set', 'override_removed')
               order by at desc limit 1) a
            where a.action = 'override_set'`,
    values: [
      asked.map(({ clusterID }) => clusterID),
      asked.map(({ objectID }) => objectID),
      asked.map(({ at }) => formatMicros(at)),
    ],
  });
  return new Map(
    rows.map((row) => [
      setterKey(asked[row.n - 1]!),
      { username: row.username, changeID: row.change_id, settings: row.settings ?? '' },
    ]),
  );
}
