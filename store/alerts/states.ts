import type { ClientBase } from 'pg';
import { type AlertRule, describeMatch } from '../../core/alerts/rule.js';
import { formatMicros } from '../../core/timestamp.js';
import type { Match } from './find-matches.js';

interface GapRow {
  id: string;
  cluster: string;
  source: string;
  source_id: number;
  cause: string;
  since: string;
  until: string;
  missing: string | null;
  opened_at: string;
}

/** What these rules match among gaps that were found within a time and, unless `all`, are open. */
export async function findGapMatches(
  client: ClientBase,
  clusterID: number,
  rules: readonly AlertRule[],
  span: { since: string; until: string; all: boolean },
): Promise<Match[]> {
  if (rules.length === 0) return [];
  const { rows } = await client.query<GapRow>({
    name: 'alerts-gaps',
    text: `select g.id, k.name as cluster, s.name as source, g.source_id, g.cause, g.since, g.until, g.missing, g.opened_at
             from gaps g join clusters k on k.id = g.cluster_id join sources s on s.id = g.source_id
            where g.cluster_id = $1 and g.opened_at >= $2 and g.opened_at < $3 and (g.state = 'open' or $4)
            order by g.opened_at`,
    values: [clusterID, span.since, span.until, span.all],
  });
  return rows.flatMap((row) => {
    const gap = {
      cause: row.cause,
      source: row.source,
      since: row.since,
      until: row.until,
      ...(row.missing !== null && { missing: Number(row.missing) }),
    };
    const subject = { event: {}, cluster: row.cluster, gap };
    return rules
      .filter((rule) => rule.matches(subject))
      .map(
        (rule): Match => ({
          ...nowhere(rule, `gap ${row.id}`, describeMatch(rule, subject), row.opened_at),
          gapID: row.id,
          sourceID: row.source_id,
        }),
      );
  });
}

/**
 * Sources of which nothing has come for longer than these rules allow. The key names the silence by when it began, so
 * that each is one alert. Those that never told anything, that read objects only when asked, or are disabled are left out.
 */
export async function findSilentSources(
  client: ClientBase,
  clusterID: number,
  rules: readonly AlertRule[],
  now: Date,
): Promise<Match[]> {
  if (rules.length === 0) return [];
  const { rows } = await client.query<{
    id: number;
    name: string;
    cluster: string;
    last: string;
    silent: number;
  }>({
    name: 'alerts-silent',
    text: `select s.id, s.name, k.name as cluster, h.last_received_at as last,
                  extract(epoch from $2::timestamptz - h.last_received_at)::float8 as silent
             from sources s join clusters k on k.id = s.cluster_id join source_health h on h.source_id = s.id
            where s.cluster_id = $1 and s.disabled_at is null and s.kind <> 'import' and h.last_received_at is not null`,
    values: [clusterID, now],
  });
  return rows.flatMap((row) => {
    const subject = {
      event: {},
      cluster: row.cluster,
      source: { name: row.name, silentSeconds: row.silent },
    };
    return rules
      .filter((rule) => row.silent > rule.silentSeconds! && rule.matches(subject))
      .map(
        (rule): Match => ({
          ...nowhere(rule, `source ${row.name} since ${row.last}`, describeMatch(rule, subject), row.last),
          sourceID: row.id,
        }),
      );
  });
}

/**
 * Notes that gaps have closed, and that sources are heard again or nobody waits for them any more, of which alerts were raised, and asks that those be told who
 * were told, or are to be told, of the alert.
 * @returns how many deliveries that makes
 */
export async function endStates(client: ClientBase, clusterID: number, now: Date): Promise<number> {
  const { rowCount } = await client.query({
    name: 'alerts-end',
    text: `with over as (
           update alerts a set ended_at = $2, end_reason = e.reason
             from (select o.id, case
                            when o.subject = 'gap' and exists (
                              select from gaps g where g.cluster_id = $1 and g.id = o.gap_id and g.state = 'closed') then 'closed'
                            when o.subject = 'source' and exists (
                              select from source_health h where h.source_id = o.source_id and h.last_received_at > o.first_at) then 'heard'
                            when o.subject = 'source' and not exists (
                              select from sources s where s.id = o.source_id and s.disabled_at is null) then 'disabled'
                          end as reason
                     from alerts o where o.cluster_id = $1 and o.subject in ('gap', 'source') and o.ended_at is null) e
            where a.cluster_id = $1 and a.id = e.id and e.reason is not null
           returning a.id)
           insert into alert_deliveries (cluster_id, alert_id, receiver, notice)
           select d.cluster_id, d.alert_id, d.receiver, 'ended'
             from over join alert_deliveries d on d.cluster_id = $1 and d.alert_id = over.id
            where d.notice = 'raised' and d.state <> 'given_up'`,
    values: [clusterID, formatMicros(now.getTime() * 1000)],
  });
  return rowCount ?? 0;
}

function nowhere(rule: AlertRule, key: string, message: string, at: string): Match {
  return {
    rule,
    key,
    message,
    at,
    namespace: null,
    object: null,
    username: null,
    changeID: null,
    eventID: null,
    gapID: null,
    sourceID: null,
  };
}
