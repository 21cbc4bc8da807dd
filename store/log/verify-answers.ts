import { type Kysely, sql } from 'kysely';
import type { Pool } from 'pg';
import { openBodies, type StoredBody, storedBodiesSql } from '../body-packs.js';
import { eventIDSql } from '../queries/events.js';
import { streamRows } from '../queries/stream.js';
import type { Database } from '../schema.js';

/** A row that answers are read from, and that is not what the logged record behind it says. */
export interface AnswerDamage {
  kind: 'altered' | 'removed' | 'added';
  what: 'body' | 'change' | 'verdict';
  cluster: string;
  /** How a person finds it: the id of a change, the SHA-256 of a body. */
  id: string;
  detail: string;
}

interface Cluster {
  id: number;
  name: string;
}

/** What was compared. */
export interface AnswerCounts {
  bodies: number;
  changes: number;
}

const PROGRESS_ROWS = 10_000;

/**
 * Holds what answers are read from against the records that have leaves: bodies against their digests, changes against the
 * events that they were made from, the verdict in force against the newest verdict. What a change says of fields (its diff
 * and summary) was computed from bodies and may be computed otherwise by another version: it is not compared.
 * Run it beside verifyRecords, which holds the records themselves against the log.
 */
export async function* verifyAnswers(
  pool: Pool,
  db: Kysely<Database>,
  cluster: Cluster,
  counts: AnswerCounts,
  progress: () => void = () => undefined,
): AsyncGenerator<AnswerDamage> {
  yield* verifyBodies(pool, db, cluster, counts, progress);
  yield* verifyChanges(pool, db, cluster, counts);
  yield* lostChanges(pool, db, cluster);
  yield* verifyCurrentVerdicts(pool, db, cluster);
}

async function* verifyBodies(
  pool: Pool,
  db: Kysely<Database>,
  cluster: Cluster,
  counts: AnswerCounts,
  progress: () => void,
): AsyncGenerator<AnswerDamage> {
  const told = (kind: AnswerDamage['kind'], digest: Buffer, detail: string): AnswerDamage => ({
    kind,
    what: 'body',
    cluster: cluster.name,
    id: digest.toString('hex'),
    detail,
  });
  const all = sql<StoredBody>`${sql.raw(storedBodiesSql('true', String(cluster.id)))} order by b.pack_id`;
  for await (const bodies of packByPack(streamRows(pool, db, [all]))) {
    for (const [digest, text] of await openBodies(bodies)) {
      if (text === undefined)
        yield told('altered', Buffer.from(digest, 'hex'), 'its content no longer has its digest');
      if (++counts.bodies % PROGRESS_ROWS === 0) progress();
    }
  }
  const lost = sql<{ digest: Buffer; event_id: string }>`
    select r.digest, min(${sql.raw(eventIDSql('r', 'event'))}) as event_id
      from (select at, digest as event, source_id, unnest(array[request_digest, response_digest]) as digest
              from events where cluster_id = ${cluster.id}) r
     where r.digest is not null
       and not exists (select from bodies b where b.cluster_id = ${cluster.id} and b.digest = r.digest)
       and not exists (select from erased_bodies b where b.cluster_id = ${cluster.id} and b.digest = r.digest)
     group by r.digest order by 2`;
  for await (const { digest, event_id } of streamRows(pool, db, [lost]))
    yield told('removed', digest, `event ${event_id} has it, nobody has erased it lawfully, and it is gone`);
}

/** Bodies of one pack at a time, and those without one each by itself, out of rows in the order of their packs. */
async function* packByPack(rows: AsyncIterable<StoredBody>): AsyncGenerator<StoredBody[]> {
  let own: StoredBody[] = [];
  for await (const row of rows) {
    if (own[0] && (row.pack_id === null || row.pack_id !== own[0].pack_id)) {
      yield own;
      own = [];
    }
    own.push(row);
  }
  if (own.length > 0) yield own;
}

/**
 * Pairs of columns that say the same of a change `c` and its event `e`. One deletecollection is a change of each object that
 * it deleted, and only what was asked is the same of all. An unknown outcome has no answer.
 */
const ITEM = `coalesce('item_of_collection' = any(c.flags), false)`;
const SAME: ReadonlyArray<readonly [name: string, differs: string]> = [
  ['id', `not ${ITEM} and c.change_id <> e.request_id`],
  ['auditID', 'c.audit_id <> e.audit_id'],
  ['verb', `not ${ITEM} and c.verb <> e.verb`],
  ['user', 'c.user_id <> e.user_id'],
  ['impersonated user', 'c.impersonated_user_id is distinct from e.impersonated_user_id'],
  ['user agent', 'c.user_agent_id is distinct from e.user_agent_id'],
  ['context', 'c.context_id is not null and cx.source_ips is distinct from e.source_ips'],
  ['request URI', 'c.request_uri <> e.request_uri'],
  ['level', 'c.level <> e.level'],
  ['code', `c.outcome <> 'unknown' and c.code is distinct from e.code`],
  ['time of its end', `c.outcome <> 'unknown' and c.completed_at is distinct from e.stage_at`],
  ['subresource', `nullif(c.subresource, '') is distinct from nullif(e.subresource, '')`],
  [
    'request',
    `c.outcome <> 'unknown' and not ${ITEM} and c.request_digest is distinct from e.request_digest`,
  ],
  [
    'response',
    `c.outcome <> 'unknown' and not ${ITEM} and c.response_digest is distinct from e.response_digest`,
  ],
  // A name that the apiserver made stands in the response only; a Namespace's is no namespace of its own.
  [
    'object',
    `(c.api_group, c.resource) is distinct from (coalesce(eo.api_group, ''), coalesce(eo.resource, ''))
     or not ${ITEM} and eo.name <> '' and c.name <> eo.name
     or not ${ITEM} and c.resource <> 'namespaces' and c.namespace <> eo.namespace`,
  ],
  [
    'object id',
    `(c.api_group, c.resource, c.namespace, c.name) is distinct from (o.api_group, o.resource, o.namespace, o.name)`,
  ],
];

async function* verifyChanges(
  pool: Pool,
  db: Kysely<Database>,
  cluster: Cluster,
  counts: AnswerCounts,
): AsyncGenerator<AnswerDamage> {
  const { rows } = await pool.query<{ count: string }>('select count(*) from changes where cluster_id = $1', [
    cluster.id,
  ]);
  counts.changes += Number(rows[0]!.count);
  const wrong = SAME.map(([name, differs]) => `case when ${differs} then '${name}' end`).join(',\n');
  const different = sql<{ change_id: string; lost: boolean; wrong: string[] }>`
    select * from (
      select c.at, c.change_id, e.digest is null as lost,
             case when e.digest is null then '{}' else array_remove(array[${sql.raw(wrong)}], null) end as wrong
        from changes c
        left join events e on e.cluster_id = c.cluster_id and e.at = c.at and e.digest = c.event_digest and e.source_id = c.source_id
        left join event_contexts cx on cx.cluster_id = c.cluster_id and cx.id = c.context_id
        left join objects eo on eo.cluster_id = e.cluster_id and eo.id = e.object_id
        left join objects o on o.cluster_id = c.cluster_id and o.id = c.object_id
       where c.cluster_id = ${cluster.id}) q
     where lost or wrong <> '{}' order by at, change_id`;
  for await (const row of streamRows(pool, db, [different]))
    yield {
      kind: row.lost ? 'added' : 'altered',
      what: 'change',
      cluster: cluster.name,
      id: row.change_id,
      detail: row.lost ? 'no event tells of it' : `its ${row.wrong.join(', ')}: not what its event says`,
    };
}

/** Events of writes and accesses whose changes are gone. Those of a segment that is on its way to or from the archive may be. */
async function* lostChanges(
  pool: Pool,
  db: Kysely<Database>,
  cluster: Cluster,
): AsyncGenerator<AnswerDamage> {
  const lost = sql<{ request_id: string; event_id: string }>`
    select e.request_id, ${sql.raw(eventIDSql('e'))} as event_id
      from events e
     where e.cluster_id = ${cluster.id} and e.class in ('change', 'access', 'derived', 'status')
       and not exists (select from changes c where c.cluster_id = e.cluster_id and c.at = e.at and c.change_id = e.request_id)
       and not exists (select from changes c where c.cluster_id = e.cluster_id and c.at = e.at and c.event_digest = e.digest)
       and not exists (select from archive_segments s
                        where s.cluster_id = e.cluster_id and s.state <> 'archived' and e.class = any(s.classes)
                          and e.at >= s.since and e.at < s.until and e.seq >= s.seq_from and e.seq < s.seq_to)
     order by e.at, e.digest`;
  for await (const { request_id, event_id } of streamRows(pool, db, [lost]))
    yield {
      kind: 'removed',
      what: 'change',
      cluster: cluster.name,
      id: request_id,
      detail: `event ${event_id} tells of it, and it is gone`,
    };
}

/** What lists filter and count by is the newest verdict, kept once more for each change. */
async function* verifyCurrentVerdicts(
  pool: Pool,
  db: Kysely<Database>,
  cluster: Cluster,
): AsyncGenerator<AnswerDamage> {
  const different = sql<{ change_id: string; verdict: string | null; newest: string | null }>`
    select change_id, c.verdict, n.verdict as newest
      from (select * from current_verdicts where cluster_id = ${cluster.id} and verdict is not null) c
      full join (select distinct on (at, change_id) at, change_id, verdict, reason, environment, root_change_id
                   from verdicts where cluster_id = ${cluster.id} order by at, change_id, id desc) n using (at, change_id)
     where (c.verdict, c.reason, c.environment, c.root_change_id)
             is distinct from (n.verdict, n.reason, n.environment, n.root_change_id)
       -- A change that turned out to have written nothing takes its verdict in force with it.
       and (c.verdict is not null
            or exists (select from changes x where x.cluster_id = ${cluster.id} and x.at = n.at and x.change_id = n.change_id))
     order by at, change_id`;
  for await (const { change_id, verdict, newest } of streamRows(pool, db, [different]))
    yield {
      kind: newest === null ? 'added' : verdict === null ? 'removed' : 'altered',
      what: 'verdict',
      cluster: cluster.name,
      id: change_id,
      detail: `in force is ${verdict ?? 'none'}, and the newest that was given is ${newest ?? 'none'}`,
    };
}
