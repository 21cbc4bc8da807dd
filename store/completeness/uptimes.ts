import type { ClientBase, Pool } from 'pg';
import type { Span } from '../../core/completeness/downtime.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';

/** A stretch in which one receiver was up. Microseconds of its clock. */
export interface Uptime extends Span {
  process: string;
}

/** Batches of one source that were refused. */
export interface Refusals extends Span {
  sourceID: number;
  batches: number;
  code: string;
}

/** Notes that receivers were up, and what they refused; a stretch that goes on grows. */
export async function recordUptimes(
  db: Pool | ClientBase,
  uptimes: readonly Uptime[],
  refusals: readonly Refusals[],
): Promise<void> {
  await db.query(
    `with up as (
       insert into receiver_uptimes as u (process, since, until)
       select * from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[])
       on conflict (process, since) do update set until = greatest(u.until, excluded.until))
     insert into refused_batches as r (source_id, since, until, batches, code)
     select f.* from unnest($4::integer[], $5::timestamptz[], $6::timestamptz[], $7::integer[], $8::text[])
                as f (source_id, since, until, batches, code)
      where exists (select from sources where id = f.source_id)
     on conflict (source_id, since) do update
       set until = greatest(r.until, excluded.until), batches = r.batches + excluded.batches, code = excluded.code`,
    [
      uptimes.map((row) => row.process),
      uptimes.map((row) => formatMicros(row.since)),
      uptimes.map((row) => formatMicros(row.until)),
      refusals.map((row) => row.sourceID),
      refusals.map((row) => formatMicros(row.since)),
      refusals.map((row) => formatMicros(row.until)),
      refusals.map((row) => row.batches),
      refusals.map((row) => row.code),
    ],
  );
}

/** When receivers were up since a time, stretches that began before it whole. */
export async function findUptimes(client: Pick<ClientBase, 'query'>, since: Date): Promise<Span[]> {
  const { rows } = await client.query<{ since: string; until: string }>(
    // The one before tells where the first downtime begins.
    `select since, until from receiver_uptimes
      where until >= coalesce((select max(until) from receiver_uptimes where until < $1), '-infinity')`,
    [since],
  );
  return rows.map((row) => ({ since: parseMicros(row.since)!, until: parseMicros(row.until)! }));
}

export async function findRefusals(client: ClientBase, since: Date): Promise<Refusals[]> {
  const { rows } = await client.query<{
    source_id: number;
    since: string;
    until: string;
    batches: number;
    code: string;
  }>('select source_id, since, until, batches, code from refused_batches where until >= $1 order by since', [
    since,
  ]);
  return rows.map((row) => ({
    sourceID: row.source_id,
    since: parseMicros(row.since)!,
    until: parseMicros(row.until)!,
    batches: row.batches,
    code: row.code,
  }));
}

export interface WebhookSource {
  sourceID: number;
  clusterID: number;
  /** Between these it was expected to post; microseconds. */
  since: number;
  until: number;
}

export async function findWebhookSources(client: ClientBase): Promise<WebhookSource[]> {
  const { rows } = await client.query<{
    id: number;
    cluster_id: number;
    since: string | null;
    until: string | null;
  }>(
    // Until its first batch nobody had connected it.
    `select s.id, s.cluster_id, case when h.last_received_at is null then null else s.created_at end as since,
            s.disabled_at as until
       from sources s left join source_health h on h.source_id = s.id where s.kind = 'webhook' order by s.id`,
  );
  return rows.map((row) => ({
    sourceID: row.id,
    clusterID: row.cluster_id,
    since: row.since === null ? Number.POSITIVE_INFINITY : parseMicros(row.since)!,
    until: row.until === null ? Number.POSITIVE_INFINITY : parseMicros(row.until)!,
  }));
}
