import type { ClientBase, Pool } from 'pg';
import type { S3Place } from './s3-place.js';
import type { Trouble } from './source-objects.js';

/** Where an s3 source lies and how it is opened. */
export interface S3Location extends S3Place {
  /** Of the objects; 'auto' detects it in each. */
  format: string;
  queueURL: string | null;
}

/** An enabled s3 source, as those who list and read it need it. */
export interface S3Source extends S3Location {
  sourceID: number;
  clusterID: number;
  name: string;
}

export interface NewS3Source {
  name: string;
  cluster: string;
  location: S3Location;
  /** Null: it is not followed, only backfills read it. */
  follow: { lookBackSeconds: number; since: string | null } | null;
}

/**
 * Creates an s3 source, and its cluster where that is new. Returns its id.
 * @throws an integrity error (SQLSTATE 23505) when the name is taken
 */
export async function createS3Source(client: ClientBase, source: NewS3Source): Promise<number> {
  const { location, follow } = source;
  await client.query('insert into clusters (name) values ($1) on conflict (name) do nothing', [
    source.cluster,
  ]);
  const { rows } = await client.query<{ id: number }>(
    `insert into sources (cluster_id, name, kind) select id, $2, 's3' from clusters where name = $1 returning id`,
    [source.cluster, source.name],
  );
  const { id } = rows[0]!;
  await client.query(
    `insert into s3_locations (source_id, bucket, prefix, region, endpoint, path_style, role_arn, external_id, profile, format, sqs_queue_url)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    [
      id,
      location.bucket,
      location.prefix,
      location.region,
      location.endpoint,
      location.pathStyle,
      location.roleARN,
      location.externalID,
      location.profile,
      location.format,
      location.queueURL,
    ],
  );
  if (follow) await followS3Source(client, id, follow);
  return id;
}

/** Makes a source that only backfills read be followed too. */
export async function followS3Source(
  client: ClientBase | Pool,
  sourceID: number,
  follow: { lookBackSeconds: number; since: string | null },
): Promise<void> {
  await client.query(
    `insert into s3_scans (source_id, kind, since, look_back_seconds) values ($1, 'follow', $2, $3)`,
    [sourceID, follow.since, follow.lookBackSeconds],
  );
}

/** Every enabled s3 source, by id. */
export async function findS3Sources(pool: Pool): Promise<S3Source[]> {
  const { rows } = await pool.query<S3Source>({
    name: 's3-sources',
    text: `select s.id as "sourceID", s.cluster_id as "clusterID", s.name, l.bucket, l.prefix, l.region, l.endpoint,
                  l.path_style as "pathStyle", l.role_arn as "roleARN", l.external_id as "externalID", l.profile, l.format,
                  l.sqs_queue_url as "queueURL"
             from sources s join s3_locations l on l.source_id = s.id
            where s.disabled_at is null order by s.id`,
  });
  return rows;
}

/** Seconds since the oldest object that waits was last modified, by source id; those that wait for nothing have no row. */
export async function findS3Lags(pool: Pool): Promise<Map<number, number>> {
  const { rows } = await pool.query<{ source_id: number; seconds: number }>({
    name: 's3-lags',
    text: `select s.id as source_id, extract(epoch from now() - o.last_modified)::float8 as seconds
             from sources s
             cross join lateral (
               select min(w.last_modified) as last_modified
                 from unnest('{new,leased,failed}'::text[]) as u (state)
                 cross join lateral (
                   select last_modified from source_objects
                    where cluster_id = s.cluster_id and source_id = s.id and state = u.state
                    order by last_modified limit 1) w) o
            where s.kind = 's3' and s.disabled_at is null and o.last_modified is not null`,
  });
  return new Map(rows.map((row) => [row.source_id, row.seconds]));
}

/** Notes that a source's queue answered, or why it didn't. */
export async function recordQueue(pool: Pool, sourceID: number, trouble: Trouble | undefined): Promise<void> {
  await pool.query({
    name: 'record-queue',
    text: `update s3_locations set
             queue_polled_at = case when $2::jsonb is null then now() else queue_polled_at end,
             queue_error = $2::jsonb, queue_error_at = case when $2::jsonb is null then null else now() end
            where source_id = $1 and (queue_error is distinct from $2::jsonb or queue_polled_at is null
                                      or queue_polled_at < now() - interval '10 seconds')`,
    values: [sourceID, trouble ? JSON.stringify(trouble) : null],
  });
}
