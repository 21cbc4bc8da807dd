import type { ClientBase } from 'pg';

export async function appendCanary(
  client: ClientBase,
  canary: { clusterID: number; sourceID: number; auditID: string; sentAt: Date },
): Promise<void> {
  await client.query(
    `insert into canaries (cluster_id, audit_id, source_id, sent_at, state) values ($1, $2, $3, $4, 'sent')`,
    [canary.clusterID, canary.auditID, canary.sourceID, canary.sentAt],
  );
}

export interface SeenCanary {
  source: string;
  /** From the write to its event's being found here, seconds. */
  latencySeconds: number;
}

/**
 * Finds the audit events of canaries, of whatever source of the cluster: an apiserver may stand behind several. Those that
 * were missing and come late close their gap.
 */
export async function findSeenCanaries(
  client: ClientBase,
  clusterID: number,
  now: Date,
): Promise<SeenCanary[]> {
  const { rows } = await client.query<{ source: string; latency: number }>(
    `with found as (
       select c.audit_id from canaries c
        where c.cluster_id = $1 and c.state <> 'seen' and c.sent_at > $2::timestamptz - interval '8 days'
          and exists (select from events e
                       where e.cluster_id = $1 and hashtext(e.audit_id) = hashtext(c.audit_id::text)
                         and e.audit_id = c.audit_id::text and e.at > c.sent_at - interval '1 hour'
                         and e.at < c.sent_at + interval '1 hour')),
     closed as (
       update gaps g set state = 'closed', closed_at = $2, closed_reason = 'late_arrival', evaluated_at = $2
         from found f
        where g.cluster_id = $1 and g.cause = 'canary_missing' and g.subject = f.audit_id::text and g.state = 'open')
     update canaries c set state = 'seen', seen_at = $2 from found f, sources s
      where c.cluster_id = $1 and c.audit_id = f.audit_id and s.id = c.source_id
     returning s.name as source, extract(epoch from c.seen_at - c.sent_at)::float8 as latency`,
    [clusterID, now],
  );
  return rows.map((row) => ({ source: row.source, latencySeconds: row.latency }));
}

/** Canaries sent before a time that have not come back become gaps. */
export async function missCanaries(
  client: ClientBase,
  clusterID: number,
  sentBefore: Date,
  now: Date,
): Promise<number> {
  const { rowCount } = await client.query(
    `with missed as (
       update canaries set state = 'missing' where cluster_id = $1 and state = 'sent' and sent_at < $2
       returning audit_id, source_id, sent_at)
     insert into gaps (cluster_id, source_id, cause, subject, since, until, expected, received, missing, evidence, opened_at,
                       evaluated_at)
     select $1, source_id, 'canary_missing', audit_id, sent_at, sent_at + interval '1 second', 1, 0, 1,
            jsonb_build_object('auditID', audit_id), $3, $3
       from missed on conflict do nothing`,
    [clusterID, sentBefore, now],
  );
  return rowCount ?? 0;
}
