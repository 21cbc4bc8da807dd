import type { ClientBase } from 'pg';

/** An audit event comes this long before or after the decision about its request at most; the longest batch wait is below. */
const BEFORE = '10 minutes';
const AFTER = '1 minute';
/** A decision whose event hasn't come for this long is given up on: it stays without one. */
const GIVE_UP = '1 day';
/** Of requests that aren't watches (kube-apiserver --request-timeout). */
const LONGEST_REQUEST = '1 minute';

/**
 * Ties decisions to the audit events that carry their ids. An event by another user or about another object doesn't agree:
 * somebody else wrote the annotation.
 * @returns how many were tied
 */
export async function linkDecisions(client: ClientBase, now: Date, limit: number): Promise<number> {
  const { rowCount } = await client.query(
    `with due as (
       select cluster_id, id, at, username, namespace, resource from gate_decisions
        where cluster_id in (select id from clusters) and request_id is null
          and at > $1::timestamptz - interval '${GIVE_UP}' order by at desc limit $2)
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
           and e.own_annotations ? 'gate.whochanged.io/decision'
           and e.own_annotations->>'gate.whochanged.io/decision' = due.id::text
           and e.at between due.at - interval '${BEFORE}' and due.at + interval '${AFTER}'
         order by e.stage = 'ResponseComplete' desc limit 1) e
       left join objects o on o.cluster_id = due.cluster_id and o.id = e.object_id
      where d.cluster_id = due.cluster_id and d.id = due.id`,
    [now, limit],
  );
  return (rowCount ?? 0) + (await linkRepeats(client, now, limit));
}

/**
 * An apiserver that refuses on what its cache held asks once more on what etcd holds (apiserver etcd3 GuaranteedUpdate), and
 * its event names only the first decision. The second is tied to the same event: same user, object and outcome, asked
 * later by less than the request took. Both times are ours and both ends of the request the apiserver's, so that its clock
 * may differ.
 */
async function linkRepeats(client: ClientBase, now: Date, limit: number): Promise<number> {
  const { rowCount } = await client.query(
    `with due as (
       select * from gate_decisions
        where cluster_id in (select id from clusters) and request_id is null
          and at > $1::timestamptz - interval '${GIVE_UP}' order by at desc limit $2)
     update gate_decisions d
        set request_id = first.request_id, event_at = first.event_at, audit_id = first.audit_id, code = first.code,
            agrees = first.agrees
       from due
      cross join lateral (
        select f.* from gate_decisions f
          join events e on e.cluster_id = f.cluster_id and e.at = f.event_at and e.request_id = f.request_id
           and e.stage = 'ResponseComplete'
         where f.cluster_id = due.cluster_id and f.at between due.at - interval '${LONGEST_REQUEST}' and due.at and f.agrees
           and (f.username, f.operation, f.api_group, f.resource, f.namespace, f.name, f.outcome)
             = (due.username, due.operation, due.api_group, due.resource, due.namespace, due.name, due.outcome)
           and f.subresource is not distinct from due.subresource and f.mode = due.mode
           and due.at - f.at <= e.stage_at - e.at
         order by f.at desc limit 1) first
      where d.cluster_id = due.cluster_id and d.id = due.id`,
    [now, limit],
  );
  return rowCount ?? 0;
}
