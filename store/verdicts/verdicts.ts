import type { ClientBase } from 'pg';
import { canonicalJson, sha256 } from '../../core/canonical.js';
import { formatMicros } from '../../core/timestamp.js';
import type { Policy } from '../../core/verdict/policy.js';
import type { Verdict } from '../../core/verdict/verdict.js';
import { finalAt, graceEnd, type Judged } from './judge.js';
import type { ChangeKey } from './subjects.js';

/** What isn't known yet is asked about again this soon, and then after as long as the change is old. */
const FIRST_RETRY_MS = 15_000;

/** Changes that wait for a verdict, those that waited longest first. */
export async function findDueVerdicts(
  client: ClientBase,
  clusterID: number,
  now: Date,
  limit: number,
): Promise<ChangeKey[]> {
  const { rows } = await client.query<{ change_id: string; micros: string }>({
    name: 'verdicts-due',
    text: `select change_id, (extract(epoch from at) * 1000000)::bigint as micros from current_verdicts
            where cluster_id = $1 and due_at <= $2 order by due_at, at limit $3`,
    values: [clusterID, now, limit],
  });
  return rows.map((row) => ({ changeID: row.change_id, at: Number(row.micros) }));
}

/**
 * Appends verdicts that say something new, and notes for all when they are to be looked at again. What follows from a
 * change whose verdict is new waits for another look itself.
 * @returns how many were appended
 */
export async function appendVerdicts(
  client: ClientBase,
  clusterID: number,
  judged: readonly Judged[],
  policy: Policy,
  policyDigest: string,
  now: Date,
): Promise<number> {
  if (judged.length === 0) return 0;
  const nowMicros = now.getTime() * 1000;
  const rows = judged.map(({ row, key, verdict, application, rangeIDs, decision }) => {
    const ends =
      verdict.verdict === 'break-glass' && verdict.reason === 'pending'
        ? graceEnd(row, policy, verdict)
        : finalAt(row, policy);
    const final = nowMicros >= ends;
    return {
      at: formatMicros(key.at),
      change_id: key.changeID,
      namespace: row.namespace,
      object_id: row.object_id,
      verdict: verdict.verdict,
      reason: verdict.reason ?? null,
      detail: verdict.detail,
      environment: verdict.environment,
      final,
      root_change_id:
        verdict.root?.changeID ??
        decision.candidates.find((link) => link.rule === 'derived')?.rootChangeID ??
        null,
      root_verdict: verdict.root?.verdict ?? null,
      root_reason: verdict.root?.reason ?? null,
      document: documentOf(verdict),
      digest: `\\x${digestOf(verdict, final).toString('hex')}`,
      application: application ?? null,
      range_ids: rangeIDs.length > 0 ? rangeIDs : null,
      due_at: final ? null : formatMicros(nextLook(verdict, key, ends, nowMicros)),
    };
  });
  const { rows: counted } = await client.query<{ appended: string }>(
    `with told as (
       select * from jsonb_to_recordset($2::jsonb) as t (at timestamptz, change_id uuid, namespace text, object_id uuid,
         verdict verdict_name, reason text, detail text, environment text, final boolean, root_change_id uuid,
         root_verdict verdict_name, root_reason text, document jsonb, digest bytea, application text, range_ids bigint[],
         due_at timestamptz)),
     fresh as (
       select t.*, v.verdict is distinct from t.verdict or v.reason is distinct from t.reason as differs
         from told t left join current_verdicts v on v.cluster_id = $1 and v.at = t.at and v.change_id = t.change_id
        where v.digest is distinct from t.digest),
     appended as (
       insert into verdicts (cluster_id, at, change_id, evaluated_at, verdict, reason, detail, environment, policy_digest,
              final, root_change_id, root_verdict, root_reason, document, digest)
       select $1, at, change_id, $3, verdict, reason, detail, environment, $4, final, root_change_id, root_verdict,
              root_reason, document, digest
         from fresh
       returning change_id),
     current as (
       insert into current_verdicts as v (cluster_id, at, change_id, namespace, object_id, verdict, reason, environment,
              policy_digest, evaluated_at, digest, final, application, root_change_id, range_ids, link_due, due_at)
       select $1, at, change_id, namespace, object_id, verdict, reason, environment, $4, $3, digest, final, application,
              root_change_id, range_ids, false, due_at
         from told
       on conflict (cluster_id, at, change_id) do update set
         verdict = excluded.verdict, reason = excluded.reason, environment = excluded.environment,
         policy_digest = excluded.policy_digest, evaluated_at = excluded.evaluated_at, digest = excluded.digest,
         final = excluded.final, application = excluded.application, root_change_id = excluded.root_change_id,
         range_ids = excluded.range_ids, due_at = excluded.due_at
       returning change_id),
     dependents as (
       update current_verdicts d set due_at = $3
        where d.cluster_id = $1 and d.root_change_id in (select change_id from fresh where differs)
          and d.change_id not in (select change_id from told)
       returning 1)
     select (select count(*) from appended) as appended, (select count(*) from dependents), (select count(*) from current)`,
    [clusterID, JSON.stringify(rows), now, policyDigest],
  );
  return Number(counted[0]?.appended ?? 0);
}

/** What columns don't hold. */
function documentOf(verdict: Verdict): object {
  const { commits, evidence, hazards, content, initiator, triggerChangeID } = verdict;
  return {
    commits,
    evidence,
    hazards,
    ...(content && { content }),
    ...(initiator && { initiator }),
    ...(triggerChangeID && { triggerChangeID }),
  };
}

/** Equal verdicts on equal evidence have equal digests: then there is nothing to append. */
function digestOf(verdict: Verdict, final: boolean): Buffer {
  return sha256(canonicalJson({ ...verdict, final }));
}

function nextLook(verdict: Verdict, key: ChangeKey, ends: number, now: number): number {
  if (verdict.verdict !== 'unknown') return ends;
  const age = Math.max(now - key.at, FIRST_RETRY_MS * 1000);
  return Math.min(ends, now + age);
}

/** Takes changes off that aren't there any more: an outcome that was refuted. */
export async function dropVerdictsDue(
  client: ClientBase,
  clusterID: number,
  keys: readonly ChangeKey[],
): Promise<void> {
  if (keys.length === 0) return;
  await client.query(
    `delete from current_verdicts v using unnest($2::timestamptz[], $3::uuid[]) as q (at, id)
      where v.cluster_id = $1 and v.at = q.at and v.change_id = q.id`,
    [clusterID, keys.map(({ at }) => formatMicros(at)), keys.map(({ changeID }) => changeID)],
  );
}
