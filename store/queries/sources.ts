import { type Kysely, sql } from 'kysely';
import type { ProbesItem } from '../completeness/probes.js';
import type { Database } from '../schema.js';

export interface SourceItem {
  id: number;
  name: string;
  cluster: string;
  kind: string;
  created_at: string;
  disabled_at: string | null;
  credentials: Array<{
    id: number;
    kind: 'token' | 'client_cert';
    created_at: string;
    expires_at: string | null;
    revoked_at: string | null;
  }>;
  last_received_at: string | null;
  last_event_at: string | null;
  lag_seconds: number | null;
  silent_seconds: number | null;
  events: string;
  duplicates: string;
  quarantined: string;
  batches: string;
  open_gaps: number;
  probes: ProbesItem | null;
}

/** Sources with their credentials (never the secrets) and health, by name; all of them unless one is named. */
export async function findSources(db: Kysely<Database>, name?: string): Promise<SourceItem[]> {
  const { rows } = await sql<SourceItem>`
    select s.id, s.name, k.name as cluster, s.kind, s.created_at, s.disabled_at, coalesce(c.credentials, '[]') as credentials,
           h.last_received_at, h.last_event_at, extract(epoch from h.last_received_at - h.last_event_at)::float8 as lag_seconds,
           extract(epoch from now() - h.last_received_at)::float8 as silent_seconds,
           coalesce(h.events, 0) as events, coalesce(h.duplicates, 0) as duplicates, coalesce(h.quarantined, 0) as quarantined, coalesce(h.batches, 0) as batches,
           coalesce(g.open_gaps, 0) as open_gaps, to_jsonb(p) as probes
      from sources s
      join clusters k on k.id = s.cluster_id
      left join source_health h on h.source_id = s.id
      left join source_probes p on p.source_id = s.id
      left join (select cluster_id, source_id, count(*)::int as open_gaps from gaps where state = 'open' group by 1, 2) g on g.cluster_id = s.cluster_id and g.source_id = s.id
      left join lateral (
        select json_agg(json_build_object('id', c.id, 'kind', c.kind, 'created_at', c.created_at, 'expires_at', c.expires_at, 'revoked_at', c.revoked_at) order by c.id) as credentials
          from source_credentials c where c.source_id = s.id) c on true
     where ${name === undefined ? sql`true` : sql`s.name = ${name}`}
     order by s.name`.execute(db);
  return rows;
}

/**
 * Gives a source a new credential. Those it had stay valid for the overlap, so that apiservers can be moved one by one.
 * @param overlapSeconds 0 ends them at once
 */
export async function rotateCredential(
  db: Kysely<Database>,
  sourceID: number,
  credential: { kind: 'token' | 'client_cert'; sha256: Buffer },
  overlapSeconds: number,
): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await sql`update source_credentials set expires_at = least(expires_at, now() + ${overlapSeconds} * interval '1 second')
               where source_id = ${sourceID} and revoked_at is null`.execute(transaction);
    await transaction
      .insertInto('source_credentials')
      .values({
        source_id: sourceID,
        kind: credential.kind,
        secret_sha256: credential.sha256,
        expires_at: null,
        revoked_at: null,
      })
      .execute();
  });
}

export async function disableSource(db: Kysely<Database>, sourceID: number): Promise<void> {
  await sql`update sources set disabled_at = coalesce(disabled_at, now()) where id = ${sourceID}`.execute(db);
}

/** A source's ids, by its name. */
export async function findSourceIDs(
  db: Kysely<Database>,
  name: string,
): Promise<{ id: number; clusterID: number; kind: string; disabled: boolean } | undefined> {
  const row = await db
    .selectFrom('sources')
    .select(['id', 'cluster_id', 'kind', 'disabled_at'])
    .where('name', '=', name)
    .executeTakeFirst();
  return row && { id: row.id, clusterID: row.cluster_id, kind: row.kind, disabled: row.disabled_at !== null };
}
