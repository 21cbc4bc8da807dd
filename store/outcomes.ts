import type { ClientBase } from 'pg';
import type { AuditEvent, Level, ObjectReference } from '../core/audit-event.js';
import { type ObjectKey, objectID } from '../core/identity.js';
import type { ChangeClass, ChangeKind } from '../core/vocabulary.js';
import { contextIDSql } from './event-row.js';

/** A write of which the apiserver told that it was received, and nothing since. */
export interface OverdueRequest {
  requestID: string;
  /** The event of stage RequestReceived, without bodies: the apiserver records none at that stage. */
  event: AuditEvent;
  /** Another stage has said since how it ended. */
  answered: boolean;
}

interface OverdueRow {
  request_id: string;
  answered: boolean;
  micros: string;
  stage_micros: string;
  level: Level;
  api_version: AuditEvent['apiVersion'];
  audit_id: string;
  verb: string;
  request_uri: string;
  api_group: string | null;
  resource: string | null;
  namespace: string | null;
  name: string | null;
  object_ref: ObjectReference | null;
  username: string;
  impersonated_username: string | null;
}

/**
 * Requests received before a time whose outcome is overdue. A source that is behind (a backlog, an old log) has its
 * own clock: there, an outcome is overdue once the source has told of what came as long after, or has fallen silent.
 */
export async function findOverdueRequests(
  client: ClientBase,
  clusterID: number,
  receivedUntil: Date,
  graceSeconds: number,
  limit: number,
): Promise<OverdueRequest[]> {
  const { rows } = await client.query<OverdueRow>(
    `select r.request_id,
            exists (select from events t where t.cluster_id = $1 and t.at = r.at and t.request_id = r.request_id
                                           and t.class <> 'stage') as answered,
            (extract(epoch from e.at) * 1000000)::bigint as micros,
            (extract(epoch from e.stage_at) * 1000000)::bigint as stage_micros,
            e.level, e.api_version, e.audit_id, e.verb, e.request_uri, o.api_group, o.resource, o.namespace, o.name,
            e.object_ref, u.username, i.username as impersonated_username
       from open_requests r
       join events e on e.cluster_id = $1 and e.at = r.at and e.digest = r.digest and e.source_id = r.source_id
       join users u on u.cluster_id = $1 and u.id = e.user_id
       left join users i on i.cluster_id = $1 and i.id = e.impersonated_user_id
       left join objects o on o.cluster_id = $1 and o.id = e.object_id
       left join source_health h on h.source_id = r.source_id
      where r.cluster_id = $1 and r.at < $2
        and (h.last_event_at is null or h.last_event_at >= r.at + make_interval(secs => $3) or h.last_received_at < $2)
      order by r.at limit $4`,
    [clusterID, receivedUntil, graceSeconds, limit],
  );
  return rows.map((row) => ({ requestID: row.request_id, answered: row.answered, event: eventOf(row) }));
}

function eventOf(row: OverdueRow): AuditEvent {
  const event: AuditEvent = {
    apiVersion: row.api_version,
    level: row.level,
    auditID: row.audit_id,
    stage: 'RequestReceived',
    requestURI: row.request_uri,
    verb: row.verb,
    user: { username: row.username },
    requestReceivedTimestamp: Number(row.micros),
    stageTimestamp: Number(row.stage_micros),
  };
  if (row.resource !== null) {
    event.objectRef = {
      ...row.object_ref,
      resource: row.resource,
      ...(row.api_group && { apiGroup: row.api_group }),
      ...(row.namespace && { namespace: row.namespace }),
      ...(row.name && { name: row.name }),
    };
  }
  if (row.impersonated_username !== null) event.impersonatedUser = { username: row.impersonated_username };
  return event;
}

/** What is known of a change whose outcome isn't. */
export interface UnknownOutcome {
  requestID: string;
  class: ChangeClass;
  kind: ChangeKind;
  key: ObjectKey;
  subresource: string | undefined;
  uid: string | undefined;
  flags: string[];
}

export const UNKNOWN_SUMMARY = 'outcome unknown: the apiserver received it, no response was recorded';

/**
 * Makes changes of unknown outcome. They are no versions of their objects, since nothing tells whether anything was
 * written. Where a change of the request is there by now, that one stays. Must run under lockCluster.
 */
export async function appendUnknownOutcomes(
  client: ClientBase,
  clusterID: number,
  outcomes: readonly UnknownOutcome[],
): Promise<number> {
  if (outcomes.length === 0) return 0;
  const keys = outcomes.map((outcome) => outcome.key);
  const ids = keys.map(objectID);
  await client.query(
    `insert into objects (cluster_id, id, api_group, resource, namespace, name)
     select distinct $1::integer, o.* from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[]) o
     on conflict do nothing`,
    [
      clusterID,
      ids,
      keys.map((key) => key.apiGroup),
      keys.map((key) => key.resource),
      keys.map((key) => key.namespace),
      keys.map((key) => key.name),
    ],
  );
  const { rowCount } = await client.query(
    `with first_seq as (select nextval('ingest_seq') as seq)
     insert into changes (cluster_id, at, change_id, seq, source_id, event_digest, audit_id, class, kind, outcome, verb,
       object_id, api_group, api_version, resource, subresource, namespace, name, uid, user_id, impersonated_user_id,
       user_agent_id, context_id, tool, request_uri, level, order_rv, summary, flags)
     select e.cluster_id, e.at, e.request_id, f.seq + w.i - 1, e.source_id, e.digest, e.audit_id,
            w.class::event_class, w.kind::change_kind, 'unknown', e.verb, o.id, o.api_group,
            e.object_ref ->> 'apiVersion', o.resource, w.subresource, o.namespace, o.name, w.uid, e.user_id,
            e.impersonated_user_id, e.user_agent_id, ${contextIDSql('e', 'digest')}, coalesce(a.tool, 'unknown'), e.request_uri, e.level, 0, $8,
            string_to_array(w.flags, ',')
       from first_seq f
      cross join unnest($2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $9::text[])
              with ordinality as w (request_id, class, kind, object_id, subresource, uid, flags, i)
       join open_requests r on r.cluster_id = $1 and r.request_id = w.request_id
       join events e on e.cluster_id = $1 and e.at = r.at and e.digest = r.digest and e.source_id = r.source_id
       join objects o on o.cluster_id = $1 and o.id = w.object_id
       left join user_agents a on a.cluster_id = $1 and a.id = e.user_agent_id
     on conflict do nothing`,
    [
      clusterID,
      outcomes.map((outcome) => outcome.requestID),
      outcomes.map((outcome) => outcome.class),
      outcomes.map((outcome) => outcome.kind),
      ids,
      outcomes.map((outcome) => outcome.subresource ?? null),
      outcomes.map((outcome) => outcome.uid ?? null),
      UNKNOWN_SUMMARY,
      outcomes.map((outcome) => (outcome.flags.length > 0 ? outcome.flags.join(',') : null)),
    ],
  );
  return rowCount ?? 0;
}

/**
 * Removes changes of unknown outcome whose request turned out to have written nothing (rejected, a dry run, a no-op). One
 * that did write something has been replaced by ingest already. Must run under lockCluster.
 */
export async function removeRefutedOutcomes(client: ClientBase, clusterID: number): Promise<number> {
  const { rowCount } = await client.query(
    `with refuted as (
       delete from changes c
        where c.cluster_id = $1 and c.outcome = 'unknown'
          and exists (select from events e where e.cluster_id = $1 and e.at = c.at and e.request_id = c.change_id
                                             and e.class <> 'stage')
       returning c.change_id),
     forgotten as (
       delete from attributions a using refuted r where a.cluster_id = $1 and a.change_id = r.change_id)
     select from refuted`,
    [clusterID],
  );
  return rowCount ?? 0;
}

export async function closeRequests(
  client: ClientBase,
  clusterID: number,
  requestIDs: readonly string[],
): Promise<void> {
  await client.query('delete from open_requests where cluster_id = $1 and request_id = any($2::uuid[])', [
    clusterID,
    requestIDs,
  ]);
}
