import type { ClientBase } from 'pg';

/** An audit event comes this long before or after the decision about its request at most; the longest batch wait is below. */
const BEFORE = '10 minutes';
const AFTER = '1 minute';
/** A decision whose event hasn't come for this long is given up on: it stays without one. */
const GIVE_UP = '1 day';

/**
 * Ties decisions to the audit events that carry their ids. An event by another user or about another object doesn't agree:
 * somebody else wrote the annotation.
 * @returns how many were tied
 */
export async function linkDecisions(client: ClientBase, now: Date, limit: number): Promise<number> {
  const { rowCount } = await client.query(
    `with due as (
       select cluster_id, id, at, username, namespace, resource from gate_decisions
        where request_id is null and at > $1::timestamptz - interval '${GIVE_UP}' order by at desc limit $2)
     update gate_decisions d
        set request_id = e.request_id, event_at = e.at, audit_id = e.audit_id, code = e.code,
            agrees = coalesce(o.namespace = due.namespace and o.resource = due.resource, true)
                     and due.username in (e.username, e.impersonated)
       from due
      cross join lateral (
        select e.request_id, e.at, e.audit_id, e.code, e.object_id, u.username, coalesce(i.username, '') as impersonated
          from events e
          left join users u on u.cluster_id = e.cluster_id and u.id = e.user_id
          left join users i on i.cluster_id = e.cluster_id and i.id = e.impersonated_user_id
         where e.cluster_id = due.cluster_id
           and e.annotations ? 'gate.whochanged.io/decision'
           and e.annotations->>'gate.whochanged.io/decision' = due.id::text
           and e.at between due.at - interval '${BEFORE}' and due.at + interval '${AFTER}'
         order by e.stage = 'ResponseComplete' desc limit 1) e
       left join objects o on o.cluster_id = due.cluster_id and o.id = e.object_id
      where d.cluster_id = due.cluster_id and d.id = due.id`,
    [now, limit],
  );
  return rowCount ?? 0;
}
