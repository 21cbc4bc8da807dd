import type { ClientBase } from 'pg';
import { canonicalDigest } from '../../core/canonical.js';
import { formatMicros } from '../../core/timestamp.js';
import type { Policy } from '../../core/verdict/policy.js';
import type { Verdict } from '../../core/verdict/verdict.js';
import { type VerdictRecord, verdictRecordDigest } from '../../core/verdict/verdict-record.js';
import { appendPending } from '../log/pending.js';
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
  const { rows: told } = await client.query<{ appended: Appended[] }>(
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
       returning id, change_id),
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
     select coalesce((select json_agg(a order by id) from appended a), '[]') as appended, (select count(*) from dependents), (select count(*) from current)`,
    [clusterID, JSON.stringify(rows), now, policyDigest],
  );
  const { appended } = told[0]!;
  const records = new Map(rows.map((row) => [row.change_id, recordOf(row, policyDigest, now)]));
  for (const batch of consecutive(appended)) {
    const pending = batch.map(({ change_id }) => ({
      originID: 0,
      at: nowMicros,
      digest: verdictRecordDigest(records.get(change_id)!),
    }));
    await appendPending(client, 'verdict', clusterID, batch[0]!.id, pending);
  }
  return appended.length;
}

interface Appended {
  id: number;
  change_id: string;
}

/** Numbers are given by a sequence that all share: those of one statement may have gaps. */
function consecutive(appended: readonly Appended[]): Appended[][] {
  const batches: Appended[][] = [];
  for (const row of appended) {
    const last = batches.at(-1);
    if (last?.at(-1)?.id === row.id - 1) last!.push(row);
    else batches.push([row]);
  }
  return batches;
}

/** The row as the proof log knows it. */
function recordOf(
  row: Omit<VerdictRecord, 'changeID' | 'evaluatedAt' | 'policyDigest' | `root${string}`> & {
    change_id: string;
    root_change_id: string | null;
    root_verdict: string | null;
    root_reason: string | null;
  },
  policyDigest: string,
  now: Date,
): VerdictRecord {
  return {
    at: row.at,
    changeID: row.change_id,
    evaluatedAt: formatMicros(now.getTime() * 1000),
    verdict: row.verdict,
    reason: row.reason,
    detail: row.detail,
    environment: row.environment,
    policyDigest,
    final: row.final,
    rootChangeID: row.root_change_id,
    rootVerdict: row.root_verdict,
    rootReason: row.root_reason,
    document: row.document,
  };
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
  return canonicalDigest({ ...verdict, final });
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
