import { type Kysely, sql } from 'kysely';
import type { AuditEvent, Json } from '../../core/audit-event.js';
import { canonicalEvent } from '../../core/canonical.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';
import type { EventClass } from '../../core/vocabulary.js';
import type { ErasedPart, PayloadPart } from '../erasures.js';
import { prepared } from '../prepared.js';
import type { Database, EventTable } from '../schema.js';
import { findBodies } from './bodies.js';
import { isOfClass, timeConditions } from './change-filter.js';
import { type Keyset, type Page, pageOf } from './cursor.js';
import { findInSteps, spanOf, timeSteps, within } from './time-steps.js';

/** An event as stored, with its dictionary entries. */
export interface EventRow extends EventTable {
  event_id: string;
  cluster: string;
  source: string;
  username: string;
  user_uid: string | null;
  groups: string[] | null;
  extra: Record<string, string[]> | null;
  impersonated_username: string | null;
  impersonated_uid: string | null;
  impersonated_groups: string[] | null;
  impersonated_extra: Record<string, string[]> | null;
  user_agent: string | null;
  api_group: string | null;
  resource: string | null;
  namespace: string | null;
  name: string | null;
  decision: string | null;
  reason: string | null;
}

/** SQL of an event's id in the API, from a row that has its time and source, and its digest under this name. */
export function eventIDSql(row: string, digest = 'digest'): string {
  return `(extract(epoch from ${row}.at) * 1000000)::bigint || '-' || encode(${row}.${digest}, 'hex') || '-' || ${row}.source_id`;
}

export const EVENT_SELECT = sql`
  select e.*, ${sql.raw(eventIDSql('e'))} as event_id,
         k.name as cluster, s.name as source, u.username, u.uid as user_uid, u.groups, u.extra, i.username as impersonated_username,
         i.uid as impersonated_uid, i.groups as impersonated_groups, i.extra as impersonated_extra, a.user_agent,
         o.api_group, o.resource, o.namespace, o.name, z.decision, z.reason`;
export const EVENT_JOINS_SQL = `
    join clusters k on k.id = e.cluster_id
    join sources s on s.id = e.source_id
    join users u on u.cluster_id = e.cluster_id and u.id = e.user_id
    left join users i on i.cluster_id = e.cluster_id and i.id = e.impersonated_user_id
    left join user_agents a on a.cluster_id = e.cluster_id and a.id = e.user_agent_id
    left join objects o on o.cluster_id = e.cluster_id and o.id = e.object_id
    left join authorizations z on z.cluster_id = e.cluster_id and z.id = e.authorization_id`;
export const EVENT_JOINS = sql.raw(EVENT_JOINS_SQL);

export interface EventFilter {
  auditID?: string;
  classes?: EventClass[];
  stage?: EventTable['stage'];
  since?: string;
  until?: string;
}

/** Events of one cluster, newest first. */
export async function findEvents(
  db: Kysely<Database>,
  clusterID: number,
  filter: EventFilter,
  after: Keyset | undefined,
  limit: number,
): Promise<Page<EventRow>> {
  const conditions = [sql`e.cluster_id = ${clusterID}`];
  if (filter.auditID !== undefined) {
    conditions.push(
      sql`hashtext(e.audit_id) = hashtext(${filter.auditID})`,
      sql`e.audit_id = ${filter.auditID}`,
    );
  }
  if (filter.classes) conditions.push(isOfClass('e.class', filter.classes));
  if (filter.stage) conditions.push(sql`e.stage = ${filter.stage}::audit_stage`);
  if (after) conditions.push(sql`(e.at, e.digest) < (${after.at}::timestamptz, decode(${after.id}, 'hex'))`);
  const isKeyed = filter.auditID !== undefined;
  const spans = isKeyed ? [filter] : timeSteps(filter, after, false, Date.now());
  const found = await findInSteps(spans, limit + 1, async (span, most) => {
    const keys = sql<{ at: string; digest: Buffer; source_id: number }>`
      select e.at, e.digest, e.source_id from events e
       where ${sql.join([...conditions, ...timeConditions(span, sql.ref('e.at'))], sql` and `)}
       order by e.at desc, e.digest desc limit ${most}`;
    return (await (isKeyed ? prepared(keys) : keys).execute(db)).rows;
  });
  const { rows } = await prepared(sql<EventRow>`
    ${EVENT_SELECT}
      from unnest(${found.map((row) => row.at)}::timestamptz[], ${found.map((row) => row.digest)}::bytea[],
                  ${found.map((row) => row.source_id)}::integer[]) q (at, digest, source_id)
     cross join lateral (
       select * from events where cluster_id = ${clusterID} and at = q.at and digest = q.digest and source_id = q.source_id
          and ${within(spanOf(found.map((row) => row.at)))} limit 1) e
     ${EVENT_JOINS} order by e.at desc, e.digest desc`).execute(db);
  return pageOf(rows, limit, (row) => ({ at: row.at, id: row.digest.toString('hex') }));
}

/** One event by its id (`micros-digest-source`); undefined when there is none. */
export async function findEvent(db: Kysely<Database>, id: string): Promise<EventRow | undefined> {
  const match = /^(\d{1,17})-([0-9a-f]{64})-(\d{1,9})$/.exec(id);
  if (!match) return undefined;
  const { rows } = await prepared(sql<EventRow>`
    ${EVENT_SELECT}
      from clusters q
     cross join lateral (
       select * from events
        where cluster_id = q.id and at = 'epoch'::timestamptz + ${match[1]!}::bigint * interval '1 microsecond'
          and digest = decode(${match[2]!}, 'hex') and source_id = ${Number(match[3])} limit 1) e
     ${EVENT_JOINS}`).execute(db);
  return rows[0];
}

export interface RawEvent {
  /** The redacted Event as it was stored. */
  event: AuditEvent;
  /**
   * Whether what was read back still has the digest it was stored under, its bodies included: each is there as it was, or
   * was erased lawfully.
   */
  digestVerified: boolean;
}

/**
 * Puts an event together again from its columns, dictionary entries and bodies.
 * @param erased which of its bodies were erased lawfully (findErasedParts)
 */
export async function findRawEvent(
  db: Kysely<Database>,
  row: EventRow,
  erased: ReadonlyArray<Pick<ErasedPart, 'part'>>,
): Promise<RawEvent> {
  const bodies = await findBodies(db, row.cluster_id, [row.request_digest, row.response_digest]);
  const event = envelopeOf(row);
  const request = row.request_digest ? bodies.get(row.request_digest.toString('hex')) : undefined;
  const response = row.response_digest ? bodies.get(row.response_digest.toString('hex')) : undefined;
  const isAsStored = (part: PayloadPart, digest: Buffer | null, body: Json | undefined) =>
    digest === null || body !== undefined || erased.some((gone) => gone.part === part);
  const digestVerified =
    storedDigest(row, event).equals(row.digest) &&
    isAsStored('request', row.request_digest, request) &&
    isAsStored('response', row.response_digest, response);
  if (request !== undefined) event.requestObject = request;
  if (response !== undefined) event.responseObject = response;
  return { event, digestVerified };
}

/** The digest of what a row holds now: the event's own as long as nothing in it was altered. */
export function storedDigest(row: EventRow, envelope: AuditEvent = envelopeOf(row)): Buffer {
  return canonicalEvent(envelope, row.request_digest ?? undefined, row.response_digest ?? undefined).digest;
}

/** An event without its bodies, from its columns and dictionary entries. */
export function envelopeOf(row: EventRow): AuditEvent {
  const ref = row.object_id === null ? undefined : { ...named(row), ...row.object_ref };
  const status =
    row.code === null && row.status === null
      ? undefined
      : { ...(row.code !== null && { code: row.code }), ...row.status };
  const annotations = {
    ...row.annotations,
    ...(row.decision !== null && { 'authorization.k8s.io/decision': row.decision }),
    ...(row.reason !== null && { 'authorization.k8s.io/reason': row.reason }),
  };
  return {
    apiVersion: row.api_version as AuditEvent['apiVersion'],
    level: row.level,
    auditID: row.audit_id,
    stage: row.stage,
    requestURI: row.request_uri,
    verb: row.verb,
    user: userOf(row.username, row.user_uid, row.groups, row.extra),
    ...(row.impersonated_username !== null && {
      impersonatedUser: userOf(
        row.impersonated_username,
        row.impersonated_uid,
        row.impersonated_groups,
        row.impersonated_extra,
      ),
    }),
    ...(row.source_ips && { sourceIPs: row.source_ips }),
    ...(row.user_agent !== null && { userAgent: row.user_agent }),
    ...(ref && { objectRef: ref }),
    ...(status && { responseStatus: status }),
    requestReceivedTimestamp: parseMicros(row.at)!,
    stageTimestamp: parseMicros(row.stage_at)!,
    ...(Object.keys(annotations).length > 0 && { annotations }),
    ...(row.authentication_metadata && { authenticationMetadata: row.authentication_metadata }),
  };
}

function named(row: EventRow) {
  return {
    ...(row.api_group && { apiGroup: row.api_group }),
    ...(row.resource && { resource: row.resource }),
    ...(row.namespace && { namespace: row.namespace }),
    ...(row.name && { name: row.name }),
  };
}

function userOf(
  username: string,
  uid: string | null,
  groups: string[] | null,
  extra: Record<string, string[]> | null,
) {
  return { username, ...(uid !== null && { uid }), ...(groups && { groups }), ...(extra && { extra }) };
}

/** An event as its apiserver would write it, redacted: what `whochanged-verify proof --record` takes. */
export function recordOf(event: AuditEvent): object {
  return {
    kind: 'Event',
    ...event,
    requestReceivedTimestamp: formatMicros(event.requestReceivedTimestamp),
    stageTimestamp: formatMicros(event.stageTimestamp),
  };
}
