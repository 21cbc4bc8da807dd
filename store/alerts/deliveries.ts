import type { ClientBase } from 'pg';
import type { EndReason, Notice } from '../../core/alerts/payload.js';

/** A delivery that is due, with its alert. */
export interface DueDelivery {
  cluster_id: number;
  alert_id: string;
  receiver: string;
  notice: Notice;
  attempts: number;
  cluster: string;
  rule: string;
  title: string;
  severity: string;
  subject: string;
  namespace: string | null;
  object: string | null;
  username: string | null;
  message: string;
  first_at: string;
  raised_at: string;
  matches: number;
  change_id: string | null;
  /** Null in a notice that it was raised, though it may be over meanwhile. */
  ended_at: string | null;
  end_reason: EndReason | null;
}

/** What came of an attempt. */
export interface Attempt {
  at: Date;
  tookMs: number;
  status: number | undefined;
  /** undefined: it was delivered. */
  error: string | undefined;
  /** When it is tried again; undefined for a failure: never. */
  nextAt: Date | undefined;
}

/**
 * Deliveries that are due, the longest due first, at most so many of each receiver. Of an alert's end a receiver is told
 * after the alert itself.
 */
export async function findDueDeliveries(client: ClientBase, now: Date, most: number): Promise<DueDelivery[]> {
  const { rows } = await client.query<DueDelivery>({
    name: 'alert-deliveries-due',
    text: `select d.cluster_id, d.alert_id, d.receiver, d.notice, d.attempts, k.name as cluster, a.rule, a.title, a.severity, a.subject,
                  a.namespace, a.object, a.username, a.message, a.first_at, a.raised_at, a.matches, a.change_id,
                  case when d.notice = 'ended' then a.ended_at end as ended_at,
                  case when d.notice = 'ended' then a.end_reason end as end_reason
             from (select *, row_number() over (partition by receiver order by due_at, alert_id) as n
                     from alert_deliveries q
                    where cluster_id in (select id from clusters) and state = 'due' and due_at <= $1
                      and not (notice = 'ended' and exists (
                            select from alert_deliveries r
                             where r.cluster_id = q.cluster_id and r.alert_id = q.alert_id and r.receiver = q.receiver
                               and r.notice = 'raised' and r.state = 'due'))) d
             join alerts a on a.cluster_id = d.cluster_id and a.id = d.alert_id
             join clusters k on k.id = d.cluster_id
            where d.n <= $2 order by d.due_at, d.alert_id`,
    values: [now, most],
  });
  return rows;
}

/** Records an attempt and what comes next, in one statement. */
export async function recordAttempt(
  client: ClientBase,
  delivery: DueDelivery,
  attempt: Attempt,
): Promise<void> {
  const state = attempt.error === undefined ? 'delivered' : attempt.nextAt ? 'due' : 'given_up';
  await client.query({
    name: 'alert-attempt',
    text: `with attempted as (
             insert into alert_attempts (cluster_id, alert_id, receiver, attempt, at, took_ms, status, error, notice)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $11))
           update alert_deliveries set attempts = $4, state = $9, due_at = coalesce($10, due_at),
                  settled_at = case when $9 = 'due' then null else $5::timestamptz end
            where cluster_id = $1 and alert_id = $2 and receiver = $3 and notice = $11`,
    values: [
      delivery.cluster_id,
      delivery.alert_id,
      delivery.receiver,
      delivery.attempts + 1,
      attempt.at,
      attempt.tookMs,
      attempt.status ?? null,
      attempt.error ?? null,
      state,
      attempt.nextAt ?? null,
      delivery.notice,
    ],
  });
}

/** A receiver that can't be reached is left alone with everything until then. */
export async function postponeReceiver(client: ClientBase, receiver: string, until: Date): Promise<void> {
  await client.query({
    name: 'alert-receiver-postpone',
    text: `update alert_deliveries set due_at = $2
            where cluster_id in (select id from clusters) and receiver = $1 and state = 'due' and due_at < $2`,
    values: [receiver, until],
  });
}

/** How many deliveries wait, by receiver, and since when the oldest of their alerts does. */
export async function countDue(
  client: ClientBase,
): Promise<Array<{ receiver: string; due: number; oldest: string }>> {
  const { rows } = await client.query<{ receiver: string; due: number; oldest: string }>({
    name: 'alert-deliveries-count',
    text: `select d.receiver, count(*)::int as due, min(case when d.notice = 'ended' then a.ended_at else a.raised_at end) as oldest
             from alert_deliveries d join alerts a on a.cluster_id = d.cluster_id and a.id = d.alert_id
            where d.state = 'due' group by d.receiver`,
  });
  return rows;
}
