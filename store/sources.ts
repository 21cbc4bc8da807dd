import type { ClientBase, Pool } from 'pg';

/** A source with the credentials that are valid now. Secrets are SHA-256 digests, in hex. */
export interface SourceCredentials {
  sourceID: number;
  clusterID: number;
  /** The cluster's name. */
  cluster: string;
  name: string;
  credentials: Array<{ kind: 'token' | 'client_cert'; sha256: string; expiresAt: number | null }>;
}

/** Every enabled source with its unrevoked credentials; `expiresAt` in milliseconds since the epoch. */
export async function findSourceCredentials(pool: Pool): Promise<SourceCredentials[]> {
  const { rows } = await pool.query<{
    id: number;
    cluster_id: number;
    cluster: string;
    name: string;
    credentials: Array<{ kind: 'token' | 'client_cert'; sha256: string; expiresAt: number | null }> | null;
  }>(
    `select s.id, s.cluster_id, k.name as cluster, s.name, json_agg(json_build_object(
              'kind', c.kind, 'sha256', encode(c.secret_sha256, 'hex'),
              'expiresAt', extract(epoch from c.expires_at) * 1000)) filter (where c.id is not null) as credentials
       from sources s
       join clusters k on k.id = s.cluster_id
       left join source_credentials c on c.source_id = s.id and c.revoked_at is null
      where s.disabled_at is null and s.kind = 'webhook'
      group by s.id, k.name order by s.id`,
  );
  return rows.map((row) => ({
    sourceID: row.id,
    clusterID: row.cluster_id,
    cluster: row.cluster,
    name: row.name,
    credentials: row.credentials ?? [],
  }));
}

/**
 * Creates a source with a first token, and its cluster where that is new.
 * @throws an integrity error (SQLSTATE 23505) when the name is taken, 23514 when it isn't a DNS name
 */
export async function createSource(
  client: ClientBase,
  source: { name: string; cluster: string; secretSha256: Uint8Array; kind?: 'token' | 'client_cert' },
): Promise<void> {
  await client.query('insert into clusters (name) values ($1) on conflict (name) do nothing', [
    source.cluster,
  ]);
  await client.query(
    `with new_source as (
       insert into sources (cluster_id, name) select id, $2 from clusters where name = $1 returning id)
     insert into source_credentials (source_id, kind, secret_sha256) select id, $4, $3 from new_source`,
    [source.cluster, source.name, source.secretSha256, source.kind ?? 'token'],
  );
}
