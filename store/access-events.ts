import { type Kysely, sql } from 'kysely';
import type { Pool } from 'pg';
import { type AccessEvent, accessEventDigest } from '../core/access/access-event.js';
import { formatMicros, parseMicros } from '../core/timestamp.js';
import { packRecords } from './log/pending.js';
import type { AccessEventTable, Database } from './schema.js';

/** Must equal the increment of access_seq: a batch takes one block of numbers. */
export const MAX_ACCESS_EVENTS = 1024;

/**
 * Makes access events durable, and hands them to the proof log. At most MAX_ACCESS_EVENTS. One statement, so one
 * transaction: every answer waits for it, and each trip to Postgres would add to that.
 */
export async function appendAccessEvents(
  pool: Pick<Pool, 'query'>,
  events: readonly AccessEvent[],
): Promise<void> {
  if (events.length === 0) return;
  const digests = events.map(accessEventDigest);
  await pool.query({
    name: 'append-access-events',
    text: `with block as materialized (select nextval('access_seq') as first_seq),
                appended as (
                  insert into access_events (seq, at, caller, caller_kind, role, clusters, namespaces, method, route, target,
                    status, source_ip, request_id, digest, grants, asked)
                  select block.first_seq + i - 1, e.at, e.caller, e.caller_kind, e.role,
                         case when e.clusters = '' then null else string_to_array(e.clusters, ',') end,
                         case when e.namespaces = '' then null else string_to_array(e.namespaces, ',') end,
                         e.method, e.route, e.target, e.status, e.source_ip, e.request_id, e.digest,
                         e.grants, e.asked
                    from block,
                         unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                                $9::text[], $10::text[], $11::smallint[], $12::text[], $13::text[], $14::bytea[],
                                $15::jsonb[], $16::jsonb[])
                           with ordinality as e (at, caller, caller_kind, role, clusters, namespaces, method, route, target,
                                                 status, source_ip, request_id, digest, grants, asked, i))
           insert into log_pending (type, cluster_id, first_seq, records)
           select 'access', 0, first_seq, $1::bytea from block`,
    values: [
      packRecords(events.map(({ at }, i) => ({ originID: 0, at, digest: digests[i]! }))),
      events.map((event) => formatMicros(event.at)),
      events.map((event) => event.caller),
      events.map((event) => event.callerKind),
      events.map((event) => event.role),
      events.map((event) => event.clusters?.join(',') ?? ''),
      events.map((event) => event.namespaces?.join(',') ?? ''),
      events.map((event) => event.method),
      events.map((event) => event.route),
      events.map((event) => event.target),
      events.map((event) => event.status),
      events.map((event) => event.sourceIP),
      events.map((event) => event.requestID),
      digests,
      events.map((event) => event.grants && JSON.stringify(event.grants)),
      events.map((event) => event.asked && JSON.stringify(event.asked)),
    ],
  });
}

/** As in the index access_events_status. */
const REFUSED = [401, 403];

export interface AccessEventFilter {
  caller?: string;
  route?: string;
  sourceIP?: string;
  /** Only what was refused. */
  refused?: boolean;
  since?: string;
  until?: string;
}

/** Access events, newest first, behind a number. */
export async function findAccessEvents(
  db: Kysely<Database>,
  filter: AccessEventFilter,
  before: string | undefined,
  limit: number,
): Promise<AccessEventTable[]> {
  let query = db.selectFrom('access_events').selectAll().orderBy('seq', 'desc').limit(limit);
  if (filter.caller !== undefined) query = query.where('caller', '=', filter.caller);
  if (filter.route !== undefined) query = query.where('route', '=', filter.route);
  if (filter.sourceIP !== undefined) query = query.where('source_ip', '=', filter.sourceIP);
  if (filter.refused) query = query.where('status', 'in', REFUSED);
  if (filter.since !== undefined) query = query.where('at', '>=', sql<string>`${filter.since}::timestamptz`);
  if (filter.until !== undefined) query = query.where('at', '<', sql<string>`${filter.until}::timestamptz`);
  if (before !== undefined) query = query.where('seq', '<', before);
  return query.execute();
}

/** The newest access event of a caller and a route. */
export async function findLastAccess(
  pool: Pick<Pool, 'query'>,
  { caller, callerKind, route }: Pick<AccessEvent, 'caller' | 'callerKind' | 'route'>,
): Promise<{ target: string } | undefined> {
  const { rows } = await pool.query<{ target: string }>(
    `select target from access_events where caller = $1 and caller_kind = $2 and route = $3 order by seq desc limit 1`,
    [caller, callerKind, route],
  );
  return rows[0];
}

export async function findAccessEvent(db: Kysely<Database>, seq: string): Promise<AccessEvent | undefined> {
  const row = await db.selectFrom('access_events').selectAll().where('seq', '=', seq).executeTakeFirst();
  return row && accessEventOf(row);
}

/** The access event that a row holds. */
export function accessEventOf(row: AccessEventTable): AccessEvent {
  return {
    at: parseMicros(row.at)!,
    caller: row.caller,
    callerKind: row.caller_kind,
    role: row.role,
    clusters: row.clusters,
    namespaces: row.namespaces,
    grants: row.grants,
    method: row.method,
    route: row.route,
    target: row.target,
    asked: row.asked,
    status: row.status,
    sourceIP: row.source_ip,
    requestID: row.request_id,
  };
}
