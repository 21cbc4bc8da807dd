import { type Kysely, sql } from 'kysely';
import type { Pool } from 'pg';
import { BEGUN } from '../../core/access/access-event.js';
import type { Database } from '../schema.js';
import type { PopulationMember, PopulationScope } from './report-population.js';
import { streamRows } from './stream.js';

/** As in the index access_events_status. */
const REFUSED = [401, 403];

/** Requests to this ledger within a time, newest first; those that were refused are exceptions. Times are RFC 3339. */
export async function* findLedgerAccess(
  pool: Pick<Pool, 'connect'>,
  db: Kysely<Database>,
  { since, until }: { since: string; until: string },
): AsyncGenerator<PopulationMember> {
  const statement = sql<{
    seq: string;
    at: string;
    caller: string;
    method: string;
    route: string;
    target: string;
    status: number;
  }>`
    select seq, at, caller, method, route, target, status from access_events a
     where at >= ${since}::timestamptz and at < ${until}::timestamptz
       -- That a change was begun is told where nothing tells what came of it.
       and not (status = ${BEGUN} and exists (select from access_events o
                                               where o.at >= a.at and o.at < a.at + interval '1 hour'
                                                 and o.request_id = a.request_id and o.status <> ${BEGUN}))
     order by at desc, seq desc`;
  for await (const { seq, at, caller, method, route, target, status } of streamRows(pool, db, [statement]))
    yield {
      what: `${method} ${route}`,
      row: {
        id: `access-${seq}`,
        at,
        cluster: '',
        namespace: '',
        object: route,
        actor: caller,
        summary: `${method} ${target}: ${status}`,
        exception: REFUSED.includes(status) || status === BEGUN,
      },
    };
}

/**
 * What began, stopped and broke off of audit logs within a time, newest first: sources that were added and disabled, and
 * gaps that overlap it. Sources that were disabled and gaps that are open are exceptions.
 */
export async function* findInterruptions(
  pool: Pick<Pool, 'connect'>,
  db: Kysely<Database>,
  { clusters, since, until }: Pick<PopulationScope, 'clusters' | 'since' | 'until'>,
): AsyncGenerator<PopulationMember> {
  const wanted = clusters.length > 0 ? sql`k.name = any(${clusters}::text[])` : sql`true`;
  const within = (at: string) =>
    sql`${sql.ref(at)} >= ${since}::timestamptz and ${sql.ref(at)} < ${until}::timestamptz`;
  const statement = sql<{
    id: string;
    at: string;
    cluster: string;
    source: string;
    what: string;
    summary: string;
    exception: boolean;
  }>`
    select * from (
      select 'gap-' || g.id as id, g.since as at, k.name as cluster, s.name as source, replace(g.cause::text, '_', ' ') as what,
             'events are missing until ' || to_char(g.until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
               || coalesce(', at least ' || g.missing, '') || case when g.state = 'open' then '' else '; closed' end as summary,
             g.state = 'open' as exception
        from gaps g join clusters k on k.id = g.cluster_id join sources s on s.id = g.source_id
       where ${wanted} and g.until > ${since}::timestamptz and g.since < ${until}::timestamptz
      union all
      select 'source-' || s.id || '-added', s.created_at, k.name, s.name, 'source added', 'a source of kind ' || s.kind || ' was added', false
        from sources s join clusters k on k.id = s.cluster_id where ${wanted} and ${within('s.created_at')}
      union all
      select 'source-' || s.id || '-disabled', s.disabled_at, k.name, s.name, 'source disabled', 'nothing is taken from it any more', true
        from sources s join clusters k on k.id = s.cluster_id where ${wanted} and ${within('s.disabled_at')}) q
     order by at desc, id desc`;
  for await (const { source, what, ...row } of streamRows(pool, db, [statement]))
    yield {
      what,
      row: { ...row, namespace: '', object: source, actor: '', summary: `${what}: ${row.summary}` },
    };
}
