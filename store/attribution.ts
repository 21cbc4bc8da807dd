import type { ClientBase } from 'pg';
import type { Attribution } from '../core/attribution/attribution.js';
import { formatMicros } from '../core/timestamp.js';
import { RECORDED_COLUMNS, RECORDED_JOINS, type RecordedRow } from './recorded-changes.js';

/** How long late evidence is awaited after a first evaluation. */
const RETRY_FOR = `interval '30 minutes'`;
/** A first retry comes this soon; each further one after twice the time. */
const FIRST_RETRY = `interval '10 seconds'`;

export async function readCursor(client: ClientBase, job: string, clusterID: number): Promise<string> {
  const { rows } = await client.query<{ seq: string }>(
    'select seq from job_cursors where job = $1 and cluster_id = $2',
    [job, clusterID],
  );
  return rows[0]?.seq ?? '-1';
}

export async function moveCursor(
  client: ClientBase,
  job: string,
  clusterID: number,
  seq: string,
): Promise<void> {
  await client.query(
    `insert into job_cursors (job, cluster_id, seq) values ($1, $2, $3)
     on conflict (job, cluster_id) do update set seq = excluded.seq`,
    [job, clusterID, seq],
  );
}

/**
 * The changes after `seq` in order of commit, at most about `limit` of them, status left out; `last` is where to go on,
 * undefined when there is nothing new. Rows of one deletecollection share a seq and are never torn apart.
 */
export async function findChangesAfter(
  client: ClientBase,
  clusterID: number,
  seq: string,
  limit: number,
): Promise<{ rows: RecordedRow[]; last: string | undefined }> {
  const window = await client.query<{ last: string | null }>({
    name: 'changes-window',
    text: `select max(seq) as last from (
             select seq from changes where cluster_id = $1 and seq > $2 order by seq limit $3) w`,
    values: [clusterID, seq, limit],
  });
  const last = window.rows[0]?.last ?? undefined;
  if (last === undefined) return { rows: [], last };
  const { rows } = await client.query<RecordedRow>({
    name: 'changes-after',
    text: `select ${RECORDED_COLUMNS} from changes c ${RECORDED_JOINS}
            where c.cluster_id = $1 and c.seq > $2 and c.seq <= $3 and c.class <> 'status'`,
    values: [clusterID, seq, last],
  });
  return { rows, last };
}

/** Unresolved attributions whose evidence may still come, due for another look. */
export async function findRetries(
  client: ClientBase,
  clusterID: number,
  now: Date,
  limit: number,
): Promise<RecordedRow[]> {
  const { rows } = await client.query<RecordedRow>({
    name: 'attribution-retries',
    text: `select ${RECORDED_COLUMNS} from (
             select change_id, at from attributions
              where cluster_id = $1 and state = 'unresolved' and retry_until > $2
                and evaluated_at + greatest(${FIRST_RETRY}, evaluated_at - (retry_until - ${RETRY_FOR})) <= $2
              order by evaluated_at limit $3) due
             join changes c on c.cluster_id = $1 and c.at = due.at and c.change_id = due.change_id ${RECORDED_JOINS}`,
    values: [clusterID, now, limit],
  });
  return rows;
}

/**
 * Recent attributions that newly arrived changes may overturn: those of effects that were there first. A change touches
 * the roots of its object - the object itself and all owners above it.
 */
export async function findTouched(
  client: ClientBase,
  clusterID: number,
  arrived: readonly RecordedRow[],
  now: Date,
  limit: number,
): Promise<RecordedRow[]> {
  if (arrived.length === 0) return [];
  const { rows } = await client.query<RecordedRow>({
    name: 'attributions-touched',
    // Clocks may differ by 2 seconds; a controller's own stream of changes needn't be looked at twice for that.
    text: `with recursive up as (
             select q.object_id, q.since, o.owner_uid, 0 as depth
               from unnest($2::uuid[], $3::text[], $4::timestamptz[]) as q (object_id, uid, since)
               left join lateral (
                 select owner_uid from object_uids
                  where cluster_id = $1 and object_id = q.object_id and (q.uid is null or uid = q.uid)
                  order by seen_at desc limit 1) o on true
             union
             select o.object_id, up.since, o.owner_uid, up.depth + 1
               from up join object_uids o on o.cluster_id = $1 and o.uid = up.owner_uid where up.depth < 8),
           roots as (select object_id, min(since) as since from up group by object_id),
           touched as (
             select a.change_id, a.at from roots r
              cross join lateral (
                select change_id, at from attributions
                 where cluster_id = $1 and root_object_id = r.object_id and at >= r.since
                   and at <= r.since + ${RETRY_FOR} and retry_until > $5
                 order by at limit $6) a
              limit $6)
           select ${RECORDED_COLUMNS} from touched t
             join changes c on c.cluster_id = $1 and c.at = t.at and c.change_id = t.change_id ${RECORDED_JOINS}`,
    values: [
      clusterID,
      arrived.map((row) => row.object_id),
      arrived.map((row) => row.uid),
      arrived.map((row) => formatMicros(Number(row.micros) - (row.class === 'derived' ? 0 : 2_000_000))),
      now,
      limit,
    ],
  });
  const own = new Set(arrived.map((row) => row.change_id));
  return rows.filter((row) => !own.has(row.change_id));
}

interface AttributionRow {
  change_id: string;
  state: Attribution['state'];
  rule: Attribution['rule'];
  reason: string | null;
  root_object_id: string | null;
  root_uid: string | null;
  api_group: string | null;
  resource: string | null;
  namespace: string | null;
  name: string | null;
  trigger_change_id: string | null;
  trigger_micros: string | null;
  content_change_id: string | null;
  content_micros: string | null;
  evidence: Attribution['evidence'];
}

/** The attributions of these changes, where they have one. */
export async function findAttributions(
  client: ClientBase,
  clusterID: number,
  changeIDs: readonly string[],
): Promise<Map<string, Attribution>> {
  if (changeIDs.length === 0) return new Map();
  const { rows } = await client.query<AttributionRow>({
    name: 'attributions-of',
    text: `select a.change_id, a.state, a.rule, a.reason, a.root_object_id, a.root_uid, o.api_group, o.resource, o.namespace,
                  o.name, a.trigger_change_id, (extract(epoch from a.trigger_at) * 1000000)::bigint as trigger_micros,
                  a.content_change_id, (extract(epoch from a.content_at) * 1000000)::bigint as content_micros, a.evidence
             from attributions a
             left join lateral (select * from objects where cluster_id = $1 and id = a.root_object_id limit 1) o on true
            where a.cluster_id = $1 and a.change_id = any($2::uuid[])`,
    values: [clusterID, changeIDs],
  });
  return new Map(rows.map((row) => [row.change_id, attributionOf(row)]));
}

function attributionOf(row: AttributionRow): Attribution {
  const attribution: Attribution = { state: row.state, rule: row.rule, evidence: row.evidence };
  if (row.reason !== null) attribution.reason = row.reason;
  if (row.root_object_id !== null) {
    attribution.root = {
      objectID: row.root_object_id,
      key: {
        apiGroup: row.api_group ?? '',
        resource: row.resource ?? '',
        namespace: row.namespace ?? '',
        name: row.name ?? '',
      },
    };
    if (row.root_uid !== null) attribution.root.uid = row.root_uid;
  }
  if (row.trigger_change_id !== null)
    attribution.trigger = { changeID: row.trigger_change_id, at: Number(row.trigger_micros) };
  if (row.content_change_id !== null)
    attribution.content = { changeID: row.content_change_id, at: Number(row.content_micros) };
  return attribution;
}

/** Writes what was decided; an earlier answer for the same change gives way, its time for late evidence stays. */
export async function upsertAttributions(
  client: ClientBase,
  clusterID: number,
  decided: ReadonlyArray<{ changeID: string; at: number; attribution: Attribution }>,
  now: Date,
): Promise<void> {
  if (decided.length === 0) return;
  const time = (reference: { at: number } | undefined) => (reference ? formatMicros(reference.at) : null);
  const all = decided.map(({ attribution }) => attribution);
  await client.query({
    name: 'upsert-attributions',
    text: `insert into attributions as a (cluster_id, change_id, at, state, rule, reason, root_object_id, root_uid,
             trigger_change_id, trigger_at, content_change_id, content_at, evidence, evaluated_at, retry_until)
           select $1, d.*, $14, $14::timestamptz + ${RETRY_FOR}
             from unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[],
                         $9::uuid[], $10::timestamptz[], $11::uuid[], $12::timestamptz[], $13::jsonb[]) d
           on conflict (cluster_id, change_id) do update set
             state = excluded.state, rule = excluded.rule, reason = excluded.reason, root_object_id = excluded.root_object_id,
             root_uid = excluded.root_uid, trigger_change_id = excluded.trigger_change_id, trigger_at = excluded.trigger_at,
             content_change_id = excluded.content_change_id, content_at = excluded.content_at, evidence = excluded.evidence,
             evaluated_at = excluded.evaluated_at`,
    values: [
      clusterID,
      decided.map(({ changeID }) => changeID),
      decided.map(time),
      all.map(({ state }) => state),
      all.map(({ rule }) => rule),
      all.map(({ reason }) => reason ?? null),
      all.map(({ root }) => root?.objectID ?? null),
      all.map(({ root }) => root?.uid ?? null),
      all.map(({ trigger }) => trigger?.changeID ?? null),
      all.map(({ trigger }) => time(trigger)),
      all.map(({ content }) => content?.changeID ?? null),
      all.map(({ content }) => time(content)),
      all.map(({ evidence }) => JSON.stringify(evidence)),
      now,
    ],
  });
}

export async function findClusterIDs(client: ClientBase): Promise<number[]> {
  const { rows } = await client.query<{ id: number }>('select id from clusters order by id');
  return rows.map((row) => row.id);
}
