import { type Kysely, sql } from 'kysely';
import { type EndReason, NOTICES, type Notice } from '../../core/alerts/payload.js';
import type { Severity, SubjectKind } from '../../core/alerts/rule.js';
import type { Database } from '../schema.js';
import { type Keyset, type Page, pageOf } from './cursor.js';

export interface AlertFilter {
  clusters?: string[] | undefined;
  namespaces?: string[] | undefined;
  rules?: string[] | undefined;
  severities?: Severity[] | undefined;
  /** Whether somebody has seen to it. */
  acked?: boolean | undefined;
  /** Of when it was raised, RFC 3339. */
  since?: string | undefined;
  until?: string | undefined;
}

export interface AlertRow {
  id: string;
  cluster: string;
  rule: string;
  title: string;
  severity: Severity;
  subject: SubjectKind;
  key: string;
  message: string;
  first_at: string;
  last_at: string;
  matches: number;
  raised_at: string;
  namespace: string | null;
  object: string | null;
  username: string | null;
  change_id: string | null;
  event_id: string | null;
  gap_id: string | null;
  source: string | null;
  ended_at: string | null;
  end_reason: EndReason | null;
  acked_at: string | null;
  acked_by: string | null;
  ack_note: string | null;
}

const COLUMNS = sql`a.id, k.name as cluster, a.rule, a.title, a.severity, a.subject, a.key, a.message, a.first_at, a.last_at, a.matches,
  a.raised_at, a.namespace, a.object, a.username, a.change_id, a.event_id, a.gap_id, s.name as source, a.ended_at, a.end_reason, a.acked_at,
  a.acked_by, a.ack_note`;

/** Alerts, those raised last first. */
export async function findAlerts(
  db: Kysely<Database>,
  filter: AlertFilter,
  after: Keyset | undefined,
  limit: number,
): Promise<Page<AlertRow>> {
  const conditions = [sql`cluster_id = k.id`];
  if (filter.namespaces?.length) conditions.push(sql`namespace = any(${filter.namespaces}::text[])`);
  if (filter.rules?.length) conditions.push(sql`rule = any(${filter.rules}::text[])`);
  if (filter.severities?.length) conditions.push(sql`severity = any(${filter.severities}::text[])`);
  if (filter.acked !== undefined)
    conditions.push(filter.acked ? sql`acked_at is not null` : sql`acked_at is null`);
  if (filter.since !== undefined) conditions.push(sql`raised_at >= ${filter.since}::timestamptz`);
  if (filter.until !== undefined) conditions.push(sql`raised_at < ${filter.until}::timestamptz`);
  if (after) conditions.push(sql`(raised_at, id) < (${after.at}::timestamptz, ${after.id}::bigint)`);
  // A page of each cluster, so that an index gives them in order.
  const { rows } = await sql<AlertRow>`
    select ${COLUMNS}
      from clusters k
     cross join lateral (
       select * from alerts where ${sql.join(conditions, sql` and `)} order by raised_at desc, id desc limit ${limit + 1}) a
      left join sources s on s.id = a.source_id
     where ${filter.clusters?.length ? sql`k.name = any(${filter.clusters}::text[])` : sql`true`}
     order by a.raised_at desc, a.id desc limit ${limit + 1}`.execute(db);
  return pageOf(rows, limit, (row) => ({ at: row.raised_at, id: row.id }));
}

/** One alert; undefined where there is none, or none that may be seen. */
export async function findAlert(db: Kysely<Database>, id: string): Promise<AlertRow | undefined> {
  const { rows } = await sql<AlertRow>`
    select ${COLUMNS} from alerts a join clusters k on k.id = a.cluster_id left join sources s on s.id = a.source_id
     where a.cluster_id in (select id from clusters) and a.id = ${id}::bigint`.execute(db);
  return rows[0];
}

/** Notes who has seen to an alert; the first one stays. */
export async function ackAlert(
  db: Kysely<Database>,
  id: string,
  by: string,
  note: string | undefined,
): Promise<void> {
  await sql`
    update alerts set acked_at = now(), acked_by = ${by}, ack_note = ${note ?? null}
     where cluster_id in (select id from clusters) and id = ${id}::bigint and acked_at is null`.execute(db);
}

export const DELIVERY_STATES = ['due', 'delivered', 'given_up'] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

export interface DeliveryRow {
  alert_id: string;
  cluster: string;
  rule: string;
  raised_at: string;
  receiver: string;
  notice: Notice;
  state: DeliveryState;
  attempts: number;
  due_at: string;
  settled_at: string | null;
  /** The last ones, the latest first. */
  tries: Array<{ attempt: number; at: string; tookMs: number; status: number | null; error: string | null }>;
}

const MOST_TRIES = 10;

/** Deliveries, those of the alerts that were raised last first; of one alert, where it is told. */
export async function findDeliveries(
  db: Kysely<Database>,
  filter: { alertID?: string | undefined; state?: DeliveryState | undefined; receiver?: string | undefined },
  after: Keyset | undefined,
  limit: number,
): Promise<Page<DeliveryRow>> {
  const conditions = [sql`true`];
  if (filter.alertID !== undefined) conditions.push(sql`a.id = ${filter.alertID}::bigint`);
  if (filter.state) conditions.push(sql`d.state = ${filter.state}`);
  if (filter.receiver !== undefined) conditions.push(sql`d.receiver = ${filter.receiver}`);
  if (after) {
    const [id = '0', receiver = '', notice = NOTICES[0]] = after.id.split('-', 3);
    conditions.push(
      sql`(a.raised_at, a.id, d.receiver, d.notice) < (${after.at}::timestamptz, ${id}::bigint, convert_from(decode(${receiver}, 'hex'), 'UTF8'), ${notice})`,
    );
  }
  const { rows } = await sql<DeliveryRow>`
    select a.id as alert_id, k.name as cluster, a.rule, a.raised_at, d.receiver, d.notice, d.state, d.attempts, d.due_at, d.settled_at,
           coalesce(t.tries, '[]') as tries
      from clusters k
      join alerts a on a.cluster_id = k.id
      join alert_deliveries d on d.cluster_id = a.cluster_id and d.alert_id = a.id
      left join lateral (
        select json_agg(json_build_object('attempt', attempt, 'tookMs', took_ms, 'status', status, 'error', error,
                 'at', to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) order by attempt desc) as tries
          from (select * from alert_attempts q where q.cluster_id = a.cluster_id and q.alert_id = a.id and q.receiver = d.receiver
                   and q.notice = d.notice
                 order by q.attempt desc limit ${MOST_TRIES}) q) t on true
     where ${sql.join(conditions, sql` and `)}
     order by a.raised_at desc, a.id desc, d.receiver desc, d.notice desc limit ${limit + 1}`.execute(db);
  return pageOf(rows, limit, (row) => ({
    at: row.raised_at,
    id: `${row.alert_id}-${Buffer.from(row.receiver).toString('hex')}-${row.notice}`,
  }));
}
