import type { ClientBase } from 'pg';
import type { EventClass } from '../../core/vocabulary.js';
import { heldSql } from '../holds.js';
import { EVENT_JOINS_SQL } from '../queries/events.js';
import { CHANGE_COLUMNS, EVENT_COLUMNS, selectList } from './columns.js';
import type { Row } from './parquet.js';

/** Events of these classes and this time, of one cluster. Times are RFC 3339, half-open. */
export interface DueQuestion {
  clusterID: number;
  classes: readonly EventClass[];
  since: string;
  until: string;
  limit: number;
}

/** Of events `e`, joined as EVENT_JOINS does. */
export const HELD_EVENT = heldSql({
  cluster: 'e.cluster_id',
  at: 'e.at',
  namespace: 'o.namespace',
  apiGroup: 'o.api_group',
  resource: 'o.resource',
  name: 'o.name',
  usernames: ['u.username', 'i.username'],
});

/** Of changes `c`, whose users are joined as `cu` and `ci`. */
const HELD_CHANGE = heldSql({
  cluster: 'c.cluster_id',
  at: 'c.at',
  namespace: 'c.namespace',
  apiGroup: 'c.api_group',
  resource: 'c.resource',
  name: 'c.name',
  usernames: ['cu.username', 'ci.username'],
});

const CHANGE_USERS = `left join users cu on cu.cluster_id = c.cluster_id and cu.id = c.user_id
  left join users ci on ci.cluster_id = c.cluster_id and ci.id = c.impersonated_user_id`;

const ITS_CHANGES = `c.cluster_id = e.cluster_id and c.at = e.at and c.event_digest = e.digest and c.source_id = e.source_id`;

/** The newest version of an object that still is: the next write is compared with it, so it stays however old it is. */
const IN_FORCE = `(c.after_certainty is not null and not c.deleted and not exists (
  select from changes n where n.cluster_id = c.cluster_id and n.object_id = c.object_id and n.after_certainty is not null
     and n.at > c.at))`;

/**
 * Events that may leave: of these classes and this time, under no hold, and with no change that is of another class, under
 * a hold or in force. Those of segments that are on their way, or loaded for a question, are theirs. Oldest first.
 *
 * `offset 0` keeps the changes from being joined as a whole: that would tell of every change of the cluster whether it is
 * in force, for each segment anew, and this of those at hand only.
 */
export async function findDueEvents(client: ClientBase, question: DueQuestion): Promise<Row[]> {
  const { rows } = await client.query<Row>(
    `select ${selectList(EVENT_COLUMNS)} from events e ${EVENT_JOINS_SQL}
      where e.cluster_id = $1 and e.at >= $2 and e.at < $3 and e.class = any($4::event_class[])
        and not ${HELD_EVENT}
        and not exists (select from changes c ${CHANGE_USERS} where ${ITS_CHANGES}
                           and (c.class <> all($4::event_class[]) or ${IN_FORCE} or ${HELD_CHANGE}) offset 0)
        and not exists (select from archive_segments s
                         where s.cluster_id = e.cluster_id and s.state <> 'archived' and e.class = any(s.classes)
                           and e.at >= s.since and e.at < s.until and e.seq >= s.seq_from and e.seq < s.seq_to)
      order by e.at, e.seq limit ${Math.trunc(question.limit)}`,
    [question.clusterID, question.since, question.until, question.classes],
  );
  return rows;
}

/** The changes that these events made, in the order of the events' numbers. */
export async function findTheirChanges(
  client: ClientBase,
  clusterID: number,
  events: readonly Row[],
): Promise<Row[]> {
  const { rows } = await client.query<Row>(
    `select ${selectList(CHANGE_COLUMNS)}
       from unnest($2::timestamptz[], $3::bytea[], $4::integer[]) as e (at, digest, source_id)
       join changes c on c.cluster_id = $1 and c.at = e.at and c.event_digest = e.digest and c.source_id = e.source_id
      order by c.seq, c.change_id`,
    [
      clusterID,
      events.map(({ at }) => at),
      events.map(({ digest }) => digest),
      events.map(({ source_id }) => source_id),
    ],
  );
  return rows;
}

/** Those of these archived events that still are in the database and under no hold, locked until the transaction ends. */
export async function lockEvents(
  client: ClientBase,
  clusterID: number,
  rows: readonly Row[],
): Promise<Row[]> {
  const keys = [
    clusterID,
    rows.map(({ at }) => at),
    rows.map(({ digest }) => digest),
    rows.map(({ source_id }) => source_id),
  ];
  const these = 'unnest($2::timestamptz[], $3::bytea[], $4::integer[]) as w (at, digest, source_id)';
  const same = 'e.cluster_id = $1 and e.at = w.at and e.digest = w.digest and e.source_id = w.source_id';
  // A statement of its own: what is read then is what whoever held a row before has left.
  await client.query(`select from ${these} join event_rows e on ${same} for update of e`, keys);
  const found = await client.query<Row>(
    `select ${selectList(EVENT_COLUMNS)} from ${these} join events e on ${same} ${EVENT_JOINS_SQL}
      where not ${HELD_EVENT} and not exists (select from changes c where ${ITS_CHANGES})`,
    keys,
  );
  return found.rows;
}

/** The same of changes. */
export async function lockChanges(
  client: ClientBase,
  clusterID: number,
  rows: readonly Row[],
): Promise<Row[]> {
  const found = await client.query<Row>(
    `select ${selectList(CHANGE_COLUMNS)}
       from unnest($2::timestamptz[], $3::uuid[]) as w (at, change_id)
       join changes c on c.cluster_id = $1 and c.at = w.at and c.change_id = w.change_id
       ${CHANGE_USERS}
      where not ${HELD_CHANGE} for update of c`,
    [clusterID, rows.map(({ at }) => at), rows.map(({ change_id }) => change_id)],
  );
  return found.rows;
}

export async function deleteEvents(
  client: ClientBase,
  clusterID: number,
  rows: readonly Row[],
): Promise<void> {
  await client.query(
    `delete from event_rows e using unnest($2::timestamptz[], $3::bytea[], $4::integer[]) as w (at, digest, source_id)
      where e.cluster_id = $1 and e.at = w.at and e.digest = w.digest and e.source_id = w.source_id`,
    [
      clusterID,
      rows.map(({ at }) => at),
      rows.map(({ digest }) => digest),
      rows.map(({ source_id }) => source_id),
    ],
  );
}

export async function deleteChanges(
  client: ClientBase,
  clusterID: number,
  rows: readonly Row[],
): Promise<void> {
  await client.query(
    `delete from changes c using unnest($2::timestamptz[], $3::uuid[]) as w (at, change_id)
      where c.cluster_id = $1 and c.at = w.at and c.change_id = w.change_id`,
    [clusterID, rows.map(({ at }) => at), rows.map(({ change_id }) => change_id)],
  );
}
