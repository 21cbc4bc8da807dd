import type { ClientBase } from 'pg';
import { sha256 } from '../../core/canonical.js';
import { revisionKey, type Sync } from '../../core/links/sync.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';

export interface SyncRow {
  cluster_id: number;
  cluster: string;
  object_id: string;
  started_at: string;
  engine: Sync['engine'];
  namespace: string;
  name: string;
  sync_id: string;
  finished_at: string | null;
  phase: Sync['phase'];
  sources: Sync['sources'];
  objects: Sync['objects'] | null;
  initiator: NonNullable<Sync['initiator']> | null;
  non_git: Sync['nonGit'] | null;
  dry_run: boolean;
  remote: boolean | null;
  operation_digest: string;
  recorders: string[];
  change_id: string;
}

export function syncOf(row: SyncRow): Sync {
  const argocd = row.engine === 'argocd';
  return {
    id: row.sync_id,
    engine: row.engine,
    application: {
      objectID: row.object_id,
      key: {
        apiGroup: argocd ? 'argoproj.io' : 'kustomize.toolkit.fluxcd.io',
        resource: argocd ? 'applications' : 'kustomizations',
        namespace: row.namespace,
        name: row.name,
      },
    },
    startedAt: parseMicros(row.started_at)!,
    finishedAt: row.finished_at === null ? undefined : parseMicros(row.finished_at),
    phase: row.phase,
    sources: row.sources,
    objects: row.objects ?? undefined,
    initiator: row.initiator ?? undefined,
    nonGit: row.non_git ?? [],
    dryRun: row.dry_run,
    ...(row.remote !== null && { remote: row.remote }),
    operationDigest: row.operation_digest,
    recorders: row.recorders,
    changeID: row.change_id,
  };
}

/**
 * Writes syncs as told, in the order that they were told. A later record replaces an earlier one; whoever wrote any
 * stays a recorder.
 */
export async function upsertSyncs(
  client: ClientBase,
  clusterID: number,
  told: ReadonlyArray<{ sync: Sync; recordedAt: number }>,
): Promise<void> {
  // Of one sync told several times in a batch the last counts; Postgres refuses to touch a row twice.
  const merged = new Map<string, { sync: Sync; recordedAt: number }>();
  for (const one of told) {
    const earlier = merged.get(one.sync.id);
    const recorders = [...new Set([...(earlier?.sync.recorders ?? []), ...one.sync.recorders])];
    merged.set(one.sync.id, { ...one, sync: { ...one.sync, recorders } });
  }
  if (merged.size === 0) return;
  const rows = [...merged.values()].map(({ sync, recordedAt }) => ({
    object_id: sync.application.objectID,
    started_at: formatMicros(sync.startedAt),
    engine: sync.engine,
    namespace: sync.application.key.namespace,
    name: sync.application.key.name,
    sync_id: sync.id,
    finished_at: sync.finishedAt === undefined ? null : formatMicros(sync.finishedAt),
    phase: sync.phase,
    sources: sync.sources,
    revision_key: sha256(revisionKey(sync.sources)).toString('hex'),
    objects: sync.objects ?? null,
    initiator: sync.initiator ?? null,
    non_git: sync.nonGit.length > 0 ? sync.nonGit : null,
    dry_run: sync.dryRun,
    remote: sync.remote ?? null,
    operation_digest: sync.operationDigest,
    recorders: sync.recorders,
    recorded_at: formatMicros(recordedAt),
    change_id: sync.changeID,
  }));
  const newer = (column: string) =>
    `${column} = case when excluded.recorded_at >= s.recorded_at then excluded.${column} else s.${column} end`;
  await client.query(
    `insert into syncs as s (cluster_id, object_id, started_at, engine, namespace, name, sync_id, finished_at, phase,
            sources, revision_key, objects, initiator, non_git, dry_run, remote, operation_digest, recorders, recorded_at, change_id)
     select $1, object_id, started_at, engine, namespace, name, sync_id, finished_at, phase, sources, revision_key, objects,
            initiator, non_git, dry_run, remote, operation_digest, recorders, recorded_at, change_id
       from jsonb_to_recordset($2::jsonb) as r (object_id uuid, started_at timestamptz, engine text, namespace text,
            name text, sync_id text, finished_at timestamptz, phase text, sources jsonb, revision_key text, objects jsonb,
            initiator jsonb, non_git jsonb, dry_run boolean, remote boolean, operation_digest text, recorders text[],
            recorded_at timestamptz, change_id uuid)
     on conflict (cluster_id, object_id, started_at) do update set
       ${['finished_at', 'phase', 'sources', 'revision_key', 'initiator', 'non_git', 'dry_run', 'remote', 'operation_digest', 'change_id'].map(newer).join(', ')},
       objects = case when excluded.recorded_at >= s.recorded_at then coalesce(excluded.objects, s.objects)
                      else coalesce(s.objects, excluded.objects) end,
       recorders = array(select distinct unnest(s.recorders || excluded.recorders) order by 1),
       recorded_at = greatest(s.recorded_at, excluded.recorded_at)`,
    [clusterID, JSON.stringify(rows)],
  );
}

/** An application as syncs know it; the namespace is left out where an object's mark doesn't tell. */
export interface ApplicationName {
  engine: Sync['engine'];
  namespace: string | undefined;
  name: string;
}

export function applicationKey({
  engine,
  namespace,
  name,
}: {
  engine: string;
  namespace: string | undefined;
  name: string;
}): string {
  return `${engine}/${namespace ?? ''}/${name}`;
}

const SYNC_COLUMNS = `s.cluster_id, k.name as cluster, s.object_id, s.started_at, s.engine, s.namespace, s.name, s.sync_id,
  s.finished_at, s.phase, s.sources, s.objects, s.initiator, s.non_git, s.dry_run, s.remote, s.operation_digest, s.recorders, s.change_id`;

/**
 * The syncs of applications around times: for each the last few that began by then, or within 2 seconds after. Where
 * the cluster has no application of that name, those of other clusters that deploy beyond their own: a hub may deploy to it.
 */
export async function findSyncsAround(
  client: ClientBase,
  clusterID: number,
  questions: ReadonlyArray<ApplicationName & { at: number }>,
): Promise<SyncRow[]> {
  if (questions.length === 0) return [];
  const { rows } = await client.query<SyncRow>({
    name: 'syncs-around',
    text: `select distinct on (s.cluster_id, s.object_id, s.started_at) ${SYNC_COLUMNS}
             from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as q (engine, namespace, name, at)
            cross join lateral (
              select exists (select from syncs where engine = q.engine and name = q.name and cluster_id = $5
                                and (q.namespace is null or namespace = q.namespace)) as here) own
             join clusters k on k.id = $5 or not own.here
            cross join lateral (
              select * from syncs
               where engine = q.engine and name = q.name and cluster_id = k.id
                 and (k.id = $5 or remote is distinct from false)
                 and started_at <= q.at + interval '2 seconds' and (q.namespace is null or namespace = q.namespace)
               order by started_at desc limit 8) s`,
    values: [
      questions.map(({ engine }) => engine),
      questions.map(({ namespace }) => namespace ?? null),
      questions.map(({ name }) => name),
      questions.map(({ at }) => formatMicros(at)),
      clusterID,
    ],
  });
  return rows;
}

/**
 * The sync that each id names, with those of its application that tell what was deployed before: the one before it, the
 * first with the same revisions, and the last that ended well before that first one with others. Only records that
 * none but `recorders` wrote count.
 */
export async function findSyncHistories(
  client: ClientBase,
  ids: readonly string[],
  recorders: readonly string[],
): Promise<Map<string, { sync: Sync; history: Sync[] }>> {
  const found = new Map<string, { sync: Sync; history: Sync[] }>();
  if (ids.length === 0) return found;
  const earlier =
    'cluster_id = o.cluster_id and object_id = o.object_id and recorders <@ $2::text[] and not dry_run';
  const { rows } = await client.query<SyncRow & { of: string }>({
    name: 'sync-histories',
    text: `select o.sync_id as of, ${SYNC_COLUMNS}
             from syncs o
            cross join lateral (
              select coalesce(min(started_at), o.started_at) as began from syncs
               where ${earlier} and revision_key = o.revision_key and started_at < o.started_at) first
            cross join lateral (
              (select * from syncs where sync_id = o.sync_id)
              union all
              (select * from syncs where ${earlier} and revision_key = o.revision_key and started_at = first.began and started_at < o.started_at)
              union all
              (select * from syncs where ${earlier} and phase = 'succeeded' and started_at < o.started_at
                order by started_at desc limit 1)
              union all
              (select * from syncs where ${earlier} and phase = 'succeeded' and revision_key <> o.revision_key
                  and started_at < first.began order by started_at desc limit 1)) s
             join clusters k on k.id = s.cluster_id
            where o.sync_id = any($1::text[])`,
    values: [[...new Set(ids)], recorders],
  });
  for (const row of rows) {
    const entry = found.get(row.of);
    const sync = syncOf(row);
    if (entry) {
      if (row.sync_id === row.of) entry.sync = sync;
      if (entry.history.every((other) => other.id !== sync.id)) entry.history.push(sync);
    } else found.set(row.of, { sync, history: [sync] });
  }
  return found;
}
