import type { ClientBase } from 'pg';

/** So many alerts go in one transaction. */
const BATCH = 1000;

/**
 * Deletes alerts that were raised before a time, with what came of telling of them. What goes on stays: gaps and silences
 * that are not over, alerts that still count equal matches, and those that somebody is yet to be told of. So does what a
 * legal hold may cover: what an alert doesn't tell (the object of a gap, all users of several matches) can't exclude it.
 * @returns how many alerts were deleted
 */
export async function pruneAlerts(
  client: ClientBase,
  clusterID: number,
  before: Date,
  signal: AbortSignal,
): Promise<number> {
  let pruned = 0;
  while (!signal.aborted) {
    const { rows } = await client.query<{ count: number }>({
      name: 'alerts-prune',
      text: `with gone as (
               delete from alerts a using (
                 select id from alerts c
                  where c.cluster_id = $1 and c.raised_at < $2
                    and case when c.subject in ('gap', 'source') then c.ended_at < $2 else c.counts_until < $2 end
                    and not exists (select from alert_deliveries d
                                     where d.cluster_id = $1 and d.alert_id = c.id and d.state = 'due')
                    and not exists (
                      select from legal_holds h
                       where h.released_at is null and (h.cluster_id is null or h.cluster_id = $1)
                         and (h.since is null or greatest(c.last_at, c.ended_at) >= h.since)
                         and (h.until is null or c.first_at < h.until)
                         and (c.matches > 1 or (
                               (h.namespace is null or c.namespace is null or h.namespace = c.namespace)
                               and (h.username is null or c.username is null or h.username = c.username))))
                  order by c.raised_at, c.id limit ${BATCH} for update) q
                where a.cluster_id = $1 and a.id = q.id returning a.id),
             untold as (
               delete from alert_deliveries d using gone where d.cluster_id = $1 and d.alert_id = gone.id),
             untried as (
               delete from alert_attempts t using gone where t.cluster_id = $1 and t.alert_id = gone.id)
             select count(*)::int as count from gone`,
      values: [clusterID, before],
    });
    pruned += rows[0]!.count;
    if (rows[0]!.count < BATCH) break;
  }
  return pruned;
}
