import type { ClientBase, Pool } from 'pg';
import type { Link, LinkDecision, LinkRule, Strength } from '../../core/links/link.js';
import { formatMicros } from '../../core/timestamp.js';
import type { ChangeKey } from './subjects.js';

export interface DecidedLinks {
  key: ChangeKey;
  objectID: string;
  namespace: string;
  application: string | undefined;
  decision: LinkDecision;
}

/**
 * Writes the links of changes: those there were give way. Each change then waits for its verdict, from `due` on.
 * Links of the rule `derived` stand in attributions already.
 */
export async function replaceLinks(
  client: ClientBase,
  clusterID: number,
  decided: readonly DecidedLinks[],
  due: Date,
): Promise<void> {
  if (decided.length === 0) return;
  await client.query({
    name: 'drop-links',
    text: `delete from links l using unnest($2::timestamptz[], $3::uuid[]) as q (at, id)
            where l.cluster_id = $1 and l.at = q.at and l.change_id = q.id`,
    values: [
      clusterID,
      decided.map(({ key }) => formatMicros(key.at)),
      decided.map(({ key }) => key.changeID),
    ],
  });
  const rows = decided.flatMap(({ key, objectID, decision }) =>
    decision.candidates
      .filter((link) => link.rule !== 'derived')
      .map((link, position) => ({
        at: formatMicros(key.at),
        change_id: key.changeID,
        position,
        rule: link.rule,
        strength: link.strength,
        selected: isSelected(decision, link),
        object_id: objectID,
        sources: link.sources,
        shas: link.sources.flatMap((source) => source.sha ?? []),
        sync_id: link.syncID ?? null,
        initiator: link.initiator ?? null,
        non_git: link.nonGit ?? null,
        doubt: link.doubt ?? null,
        evidence: link.evidence,
        hazards: isSelected(decision, link) ? decision.selected!.hazards : link.hazards,
      })),
  );
  if (rows.length > 0)
    await client.query(
      `insert into links (cluster_id, at, change_id, position, rule, strength, selected, object_id, sources, shas, sync_id,
              initiator, non_git, doubt, evidence, hazards)
       select $1, at, change_id, position, rule, strength, selected, object_id, sources, shas, sync_id, initiator, non_git,
              doubt, evidence, hazards
         from jsonb_to_recordset($2::jsonb) as t (at timestamptz, change_id uuid, position smallint, rule link_rule,
              strength link_strength, selected boolean, object_id uuid, sources jsonb, shas text[], sync_id text,
              initiator jsonb, non_git jsonb, doubt text, evidence jsonb, hazards text[])`,
      [clusterID, JSON.stringify(rows)],
    );
  const managed = decided.filter(({ application }) => application !== undefined);
  if (managed.length > 0)
    await client.query({
      name: 'note-managed-objects',
      text: `insert into managed_objects (cluster_id, application, object_id, namespace)
             select distinct $1::integer, q.application, q.object_id, q.namespace
               from unnest($2::text[], $3::uuid[], $4::text[]) as q (application, object_id, namespace)
             on conflict do nothing`,
      values: [
        clusterID,
        managed.map(({ application }) => application),
        managed.map(({ objectID }) => objectID),
        managed.map(({ namespace }) => namespace),
      ],
    });
  await client.query({
    name: 'await-verdicts',
    text: `insert into current_verdicts as v (cluster_id, at, change_id, namespace, object_id, application, root_change_id, link_due, due_at)
           select $1, q.at, q.id, q.namespace, q.object_id, q.application, q.root, false, $8
             from unnest($2::timestamptz[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::uuid[])
                  as q (at, id, namespace, object_id, application, root)
           on conflict (cluster_id, at, change_id) do update set
             application = excluded.application, root_change_id = excluded.root_change_id, link_due = false,
             due_at = least(v.due_at, excluded.due_at)`,
    values: [
      clusterID,
      decided.map(({ key }) => formatMicros(key.at)),
      decided.map(({ key }) => key.changeID),
      decided.map(({ namespace }) => namespace),
      decided.map(({ objectID }) => objectID),
      decided.map(({ application }) => application ?? null),
      decided.map(
        ({ decision }) => decision.candidates.find((link) => link.rule === 'derived')?.rootChangeID ?? null,
      ),
      due,
    ],
  });
}

function isSelected(decision: LinkDecision, link: Link): boolean {
  const { selected } = decision;
  return (
    selected !== undefined &&
    selected.rule === link.rule &&
    selected.syncID === link.syncID &&
    selected.sources === link.sources
  );
}

interface LinkRow {
  change_id: string;
  rule: LinkRule;
  strength: Strength;
  selected: boolean;
  sources: Link['sources'];
  sync_id: string | null;
  initiator: NonNullable<Link['initiator']> | null;
  non_git: NonNullable<Link['nonGit']> | null;
  doubt: string | null;
  evidence: Link['evidence'];
  hazards: string[];
}

/** The links of changes as they were found, with what follows from their attribution left out; by change id. */
export async function findLinkRows(
  db: Pick<Pool | ClientBase, 'query'>,
  clusterID: number,
  keys: readonly ChangeKey[],
): Promise<Map<string, Array<Link & { selected: boolean }>>> {
  const found = new Map<string, Array<Link & { selected: boolean }>>();
  if (keys.length === 0) return found;
  const { rows } = await db.query<LinkRow>({
    name: 'links-by-key',
    text: `select l.change_id, l.rule, l.strength, l.selected, l.sources, l.sync_id, l.initiator, l.non_git, l.doubt, l.evidence, l.hazards
             from unnest($2::timestamptz[], $3::uuid[]) as q (at, id)
             join links l on l.cluster_id = $1 and l.at = q.at and l.change_id = q.id
            order by l.change_id, l.position`,
    values: [clusterID, keys.map(({ at }) => formatMicros(at)), keys.map(({ changeID }) => changeID)],
  });
  for (const row of rows) {
    const own = found.get(row.change_id) ?? [];
    own.push({
      rule: row.rule,
      strength: row.strength,
      selected: row.selected,
      sources: row.sources,
      ...(row.sync_id !== null && { syncID: row.sync_id }),
      ...(row.initiator && { initiator: row.initiator }),
      ...(row.non_git && { nonGit: row.non_git }),
      ...(row.doubt !== null && { doubt: row.doubt }),
      evidence: row.evidence,
      hazards: row.hazards,
    });
    found.set(row.change_id, own);
  }
  return found;
}
