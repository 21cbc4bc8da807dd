import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { Pool } from 'pg';
import type { Database } from '../schema.js';
import type { PopulationMember, PopulationScope } from './report-population.js';
import { streamRows } from './stream.js';

interface Row {
  id: string;
  at: string;
  cluster: string;
  object: string;
  actor: string;
  what: string;
  summary: string;
  exception: boolean;
}

const text = (at: string) => sql`to_char(${sql.ref(at)} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`;

/** Payloads that were erased within a time: always looked at first. */
const erased = (begin: RawBuilder<unknown>, end: RawBuilder<unknown>) => sql`
  select 'erasure-' || e.cluster_id || '-' || encode(e.digest, 'hex') as id, e.erased_at as at, k.name as cluster,
         e.event_id as object, e.erased_by as actor, 'payload erased' as what, e.reason as summary, true as exception
    from erased_bodies e join clusters k on k.id = e.cluster_id
   where e.erased_at >= ${begin} and e.erased_at < ${end}`;

/**
 * How the records of a time were kept, newest first: the policies that were followed, what of that time went to the
 * archive and whether it was read back as what it was, the legal holds that were in force, and the payloads that were
 * erased. Exceptions are erasures, and segments that do not go on.
 */
export function findRetention(
  pool: Pick<Pool, 'connect'>,
  db: Kysely<Database>,
  { clusters, since, until }: Pick<PopulationScope, 'clusters' | 'since' | 'until'>,
): AsyncGenerator<PopulationMember> {
  const wanted = clusters.length > 0 ? sql`k.name = any(${clusters}::text[])` : sql`true`;
  const [begin, end] = [sql`${since}::timestamptz`, sql`${until}::timestamptz`];
  return membersOf(
    pool,
    db,
    sql`
      select 'policy-' || p.version as id, p.applied_at as at, '' as cluster, '' as object, '' as actor, 'policy followed' as what,
             case when p.policy = '' then 'nothing leaves the database' else 'leaves the database for the archive: ' || p.policy end
               || coalesce(', until ' || ${text('n.applied_at')}, '') as summary,
             false as exception
        from retention_policies p left join retention_policies n on n.version = p.version + 1
       where p.applied_at < ${end} and (n.applied_at is null or n.applied_at > ${begin})
      union all
      select 'segment-' || s.cluster_id || '-' || s.id, s.since, k.name, s.key, '',
             case when s.verified_at is null then 'archive not yet verified' else 'archived and read back' end,
             s.events || ' events of ' || ${text('s.since')} || ' until ' || ${text('s.until')}
               || coalesce(', read back ' || ${text('s.verified_at')}, '') || coalesce(': ' || s.error, ''),
             s.error is not null
        from archive_segments s join clusters k on k.id = s.cluster_id
       where ${wanted} and s.since < ${end} and s.until > ${begin}
      union all
      select 'hold-' || h.id, h.created_at, coalesce(k.name, ''), concat_ws(' ', h.namespace, h.resource, h.name), h.created_by,
             'legal hold', h.reason || coalesce('; released ' || ${text('h.released_at')} || ': ' || h.release_reason, ''), false
        from legal_holds h left join clusters k on k.id = h.cluster_id
       where (h.cluster_id is null or ${wanted}) and h.created_at < ${end} and (h.released_at is null or h.released_at >= ${begin})
      union all ${erased(begin, end)} and ${wanted}`,
  );
}

/**
 * How the records of the ledger were kept from being altered in a time, newest first: the checkpoints that were signed,
 * whether copies of them lie where the database can't reach and until when those are locked, and the payloads that were
 * erased. Exceptions are copies that failed, and erasures.
 */
export function findProtection(
  pool: Pick<Pool, 'connect'>,
  db: Kysely<Database>,
  { since, until }: Pick<PopulationScope, 'since' | 'until'>,
): AsyncGenerator<PopulationMember> {
  const [begin, end] = [sql`${since}::timestamptz`, sql`${until}::timestamptz`];
  return membersOf(
    pool,
    db,
    sql`
      select 'checkpoint-' || c.size || '-' || (extract(epoch from c.signed_at) * 1000000)::bigint as id, c.signed_at as at,
             '' as cluster, '' as object, '' as actor,
             case when c.locked_until is not null then 'checkpoint copied and locked'
                  when c.copied_at is not null then 'checkpoint copied' else 'checkpoint signed' end as what,
             'over ' || c.size || ' records' || coalesce(', copied ' || ${text('c.copied_at')}, '')
               || coalesce(', locked until ' || ${text('c.locked_until')}, '') || coalesce(', copy failed: ' || c.copy_error, '') as summary,
             c.copy_error is not null and c.copied_at is null as exception
        from log_checkpoints c where c.signed_at >= ${begin} and c.signed_at < ${end}
      union all ${erased(begin, end)}`,
  );
}

async function* membersOf(
  pool: Pick<Pool, 'connect'>,
  db: Kysely<Database>,
  rows: RawBuilder<unknown>,
): AsyncGenerator<PopulationMember> {
  const newestFirst = sql<Row>`select * from (${rows}) q order by at desc, id desc`;
  for await (const { what, ...row } of streamRows(pool, db, [newestFirst]))
    yield { what, row: { ...row, namespace: '', summary: `${what}: ${row.summary}` } };
}
