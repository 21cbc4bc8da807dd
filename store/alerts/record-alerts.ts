import { createHash } from 'node:crypto';
import type { ClientBase } from 'pg';
import { countingAlert, type Gathered } from '../../core/alerts/gather.js';
import { isState } from '../../core/alerts/rule.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';
import type { Match } from './find-matches.js';

interface Known extends Gathered {
  /** undefined: it is new. */
  id: string | undefined;
  digest: string;
  first: Match;
  lastAt: number;
  matches: number;
}

/** A time that no match comes after. */
const NEVER = 'infinity';

/**
 * Writes matches down as alerts, equal ones as one, and asks for their delivery. To be called within a transaction that
 * moves the cursor too, and by one process at a time.
 * @returns the rules of the alerts that are new
 */
export async function recordMatches(
  client: ClientBase,
  clusterID: number,
  matches: readonly Match[],
): Promise<string[]> {
  if (matches.length === 0) return [];
  const known = await findKnown(client, clusterID, matches);
  for (const match of matches) {
    const digest = digestOf(match).toString('hex');
    const at = parseMicros(match.at)!;
    const alerts = known.get(digest) ?? [];
    known.set(digest, alerts);
    const alert = countingAlert(alerts, at);
    if (alert) {
      // A state is looked at again and again: it is one match as long as it lasts.
      if (!isState(match.rule.on)) alert.matches++;
      alert.lastAt = Math.max(alert.lastAt, at);
      alert.firstAt = Math.min(alert.firstAt, at);
    } else
      alerts.push({
        id: undefined,
        digest,
        first: match,
        firstAt: at,
        lastAt: at,
        countsUntil: isState(match.rule.on) ? Number.POSITIVE_INFINITY : at + match.rule.windowSeconds * 1e6,
        matches: 1,
      });
  }
  const all = [...known.values()].flat();
  await countMatches(
    client,
    clusterID,
    all.filter(({ id, matches: count }) => id !== undefined && count > 0),
  );
  const fresh = all.filter(({ id }) => id === undefined);
  await appendAlerts(client, clusterID, fresh);
  return fresh.map(({ first }) => first.rule.name);
}

function digestOf({ rule, key }: Match): Buffer {
  return createHash('sha256').update(`${rule.name}\n${key}`).digest();
}

async function findKnown(
  client: ClientBase,
  clusterID: number,
  matches: readonly Match[],
): Promise<Map<string, Known[]>> {
  const firsts = new Map(matches.map((match) => [digestOf(match).toString('hex'), match]));
  const times = matches.map(({ at }) => at).sort();
  const longest = Math.max(...matches.map(({ rule }) => rule.windowSeconds));
  const { rows } = await client.query<{
    id: string;
    digest: string;
    first_at: string;
    last_at: string;
    counts_until: string;
  }>({
    name: 'alerts-known',
    text: `select id, encode(key_digest, 'hex') as digest, first_at, last_at, counts_until from alerts
            where cluster_id = $1 and key_digest = any($2::bytea[])
              and (counts_until = 'infinity' or first_at between $3::timestamptz - $5 * interval '1 second'
                                                              and $4::timestamptz + $5 * interval '1 second')
            order by first_at desc`,
    values: [
      clusterID,
      [...firsts.keys()].map((digest) => Buffer.from(digest, 'hex')),
      times[0],
      times.at(-1),
      longest,
    ],
  });
  const known = new Map<string, Known[]>();
  for (const row of rows) {
    const alerts = known.get(row.digest) ?? [];
    known.set(row.digest, alerts);
    alerts.push({
      id: row.id,
      digest: row.digest,
      first: firsts.get(row.digest)!,
      firstAt: parseMicros(row.first_at)!,
      lastAt: parseMicros(row.last_at)!,
      countsUntil: row.counts_until === NEVER ? Number.POSITIVE_INFINITY : parseMicros(row.counts_until)!,
      matches: 0,
    });
  }
  return known;
}

async function countMatches(client: ClientBase, clusterID: number, alerts: readonly Known[]): Promise<void> {
  if (alerts.length === 0) return;
  await client.query({
    name: 'alerts-count',
    text: `update alerts a set matches = a.matches + q.matches, first_at = q.first_at, last_at = q.last_at
             from unnest($2::bigint[], $3::integer[], $4::timestamptz[], $5::timestamptz[]) as q (id, matches, first_at, last_at)
            where a.cluster_id = $1 and a.id = q.id`,
    values: [
      clusterID,
      alerts.map(({ id }) => id),
      alerts.map(({ matches }) => matches),
      alerts.map(({ firstAt }) => formatMicros(firstAt)),
      alerts.map(({ lastAt }) => formatMicros(lastAt)),
    ],
  });
}

async function appendAlerts(client: ClientBase, clusterID: number, alerts: readonly Known[]): Promise<void> {
  if (alerts.length === 0) return;
  const rows = alerts.map(({ digest, first, firstAt, lastAt, countsUntil, matches }) => ({
    rule: first.rule.name,
    title: first.rule.title,
    severity: first.rule.severity,
    subject: first.rule.on,
    key: first.key,
    key_digest: `\\x${digest}`,
    message: first.message,
    first_at: formatMicros(firstAt),
    last_at: formatMicros(lastAt),
    matches,
    counts_until: Number.isFinite(countsUntil) ? formatMicros(countsUntil) : NEVER,
    namespace: first.namespace,
    object: first.object,
    username: first.username,
    change_id: first.changeID,
    event_id: first.eventID,
    gap_id: first.gapID,
    source_id: first.sourceID,
    receivers: first.rule.to,
  }));
  await client.query(
    `with told as materialized (
       select nextval(pg_get_serial_sequence('alerts', 'id')) as id, t.* from jsonb_to_recordset($2::jsonb) as t (rule text, title text,
         severity text, subject text, key text, key_digest bytea, message text, first_at timestamptz, last_at timestamptz,
         matches integer, counts_until timestamptz, namespace text, object text, username text, change_id uuid, event_id text,
         gap_id bigint, source_id integer, receivers text[])),
     raised as (
       insert into alerts (cluster_id, id, rule, title, severity, subject, key, key_digest, message, first_at, last_at, matches,
              counts_until, namespace, object, username, change_id, event_id, gap_id, source_id)
       overriding system value
       select $1, id, rule, title, severity, subject, key, key_digest, message, first_at, last_at, matches, counts_until,
              namespace, object, username, change_id, event_id, gap_id, source_id
         from told)
     insert into alert_deliveries (cluster_id, alert_id, receiver)
     select $1, id, r from told, unnest(receivers) r`,
    [clusterID, JSON.stringify(rows)],
  );
}
