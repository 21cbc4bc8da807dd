import type { ClientBase } from 'pg';
import type { JsonObject } from '../../core/audit-event.js';
import { objectID } from '../../core/identity.js';
import type { ApplicationRecord, HelmReleaseRecord, LinkEvidence } from '../../core/links/evidence.js';
import { field, text } from '../../core/links/json-field.js';
import { labelOf, type Subject } from '../../core/links/link.js';
import { type Tracking, trackingsOf } from '../../core/links/tracking.js';
import { formatMicros } from '../../core/timestamp.js';
import type { Policy } from '../../core/verdict/policy.js';
import { actorOf } from '../../core/verdict/policy-match.js';
import { findAttributions } from '../attribution.js';
import type { BodyCache } from '../body-cache.js';
import { bodyOf } from '../recorded-changes.js';
import { findRenderedMatches, type Rendering } from './rendered-matches.js';
import type { SubjectRow } from './subjects.js';
import { applicationKey, findOverrideSetters, findSyncsAround, type SyncRow, syncOf } from './syncs.js';

/** Questions about one application that lie within this, in microseconds, are asked once. */
const BUCKET = 1e6;

export interface LinkCase {
  row: SubjectRow;
  subject: Subject;
  object: JsonObject | undefined;
  request: JsonObject | undefined;
  evidence: LinkEvidence;
  /** The application that the object belongs to, by its marks (applicationKey). */
  application: string | undefined;
}

/** Gathers what links are found by, with a fixed number of statements however many changes there are. */
export async function gatherLinkCases(
  client: ClientBase,
  clusterID: number,
  subjects: ReadonlyMap<
    SubjectRow,
    { subject: Subject; object: JsonObject | undefined; request: JsonObject | undefined }
  >,
  policy: Policy,
  bodyCache: BodyCache,
  rendering: Rendering,
): Promise<LinkCase[]> {
  const traced = [...subjects].map(([row, read]) => ({ row, ...read, trackings: trackingsOf(read.subject) }));
  const attributions = await findAttributions(
    client,
    clusterID,
    traced
      .filter(({ row }) => row.class === 'derived' || row.kind === 'finalizer_removal')
      .map(({ row }) => row.change_id),
  );
  const releases = await findReleases(client, clusterID, traced, policy, bodyCache);
  const questions = new Map<
    string,
    { engine: 'argocd' | 'flux'; namespace: string | undefined; name: string; at: number }
  >();
  const ask = (engine: 'argocd' | 'flux', namespace: string | undefined, name: string, at: number) => {
    const question = { engine, namespace, name, at: Math.ceil(at / BUCKET) * BUCKET };
    questions.set(`${applicationKey(question)} ${question.at}`, question);
  };
  for (const { subject, trackings, row } of traced) {
    // Only the controllers' own writes are looked up; what people write has no sync.
    if (actorOf(policy, subject.user) === undefined) continue;
    for (const { engine, namespace, name } of trackings)
      if (engine !== 'helm') ask(engine, namespace, name, subject.at);
    const release = releases.get(row.change_id);
    if (release?.parent) ask('flux', release.parent.namespace, release.parent.name, release.record.changedAt);
  }
  const syncs = groupSyncs(await findSyncsAround(client, clusterID, [...questions.values()]));
  const setters = await findOverrideSetters(
    client,
    [...syncs.values()]
      .flat()
      .filter((row) => row.non_git?.some(({ kind }) => kind === 'overrides'))
      .map((row) => ({
        clusterID: row.cluster_id,
        objectID: row.object_id,
        at: syncOf(row).startedAt + 1e6,
      })),
  );
  const rendered = await findRenderedMatches(client, traced, policy, rendering);
  return traced.map(({ row, subject, object, request, trackings }): LinkCase => {
    const argocd = trackings.find(({ engine }) => engine === 'argocd');
    const flux = trackings.find(({ engine }) => engine === 'flux');
    const release = releases.get(row.change_id);
    if (release?.parent) release.record.parent = fluxSyncs(syncs, clusterID, release.parent);
    return {
      row,
      subject,
      object,
      request,
      application: trackings[0] && applicationKey(trackings[0]),
      evidence: {
        policy,
        attribution: attributions.get(row.change_id),
        argocd: argocd ? applicationRecords(syncs, argocd, clusterID, subject.at, setters) : [],
        flux: flux ? fluxSyncs(syncs, clusterID, flux) : [],
        helmRelease: release?.record,
        rendered: rendered.get(row.change_id) ?? [],
      },
    };
  });
}

function groupSyncs(rows: readonly SyncRow[]): Map<string, SyncRow[]> {
  const grouped = new Map<string, SyncRow[]>();
  for (const row of rows) {
    const key = `${row.engine} ${row.name}`;
    const own = grouped.get(key) ?? [];
    if (own.every((other) => other.sync_id !== row.sync_id)) own.push(row);
    grouped.set(key, own);
  }
  return grouped;
}

function fluxSyncs(
  syncs: ReadonlyMap<string, SyncRow[]>,
  clusterID: number,
  name: { namespace: string | undefined; name: string },
) {
  return (syncs.get(`flux ${name.name}`) ?? [])
    .filter((row) => row.cluster_id === clusterID && row.namespace === name.namespace)
    .map(syncOf);
}

/** The Applications of that name; those of the change's own cluster go before those of a hub. */
function applicationRecords(
  syncs: ReadonlyMap<string, SyncRow[]>,
  tracking: Tracking,
  clusterID: number,
  at: number,
  setters: Awaited<ReturnType<typeof findOverrideSetters>>,
): ApplicationRecord[] {
  const named = (syncs.get(`argocd ${tracking.name}`) ?? []).filter(
    (row) => tracking.namespace === undefined || row.namespace === tracking.namespace,
  );
  const own = named.filter((row) => row.cluster_id === clusterID);
  const records = new Map<string, ApplicationRecord>();
  for (const row of own.length > 0 ? own : named) {
    const id = `${row.cluster_id} ${row.object_id}`;
    const sync = syncOf(row);
    const setter = (setters.get(row.object_id) ?? [])
      .filter((one) => one.at <= at)
      .sort((a, b) => b.at - a.at)[0];
    const record = records.get(id) ?? {
      cluster: row.cluster,
      key: sync.application.key,
      syncs: [],
      overridesBy: setter && { username: setter.username, changeID: setter.changeID },
    };
    record.syncs.push(sync);
    records.set(id, record);
  }
  return [...records.values()];
}

interface Release {
  record: HelmReleaseRecord;
  parent: { namespace: string; name: string } | undefined;
}

/** The HelmRelease that each object bears the labels of, as it was when the object was written. */
async function findReleases(
  client: ClientBase,
  clusterID: number,
  traced: ReadonlyArray<{ row: SubjectRow; subject: Subject; trackings: Tracking[] }>,
  policy: Policy,
  bodyCache: BodyCache,
): Promise<Map<string, Release>> {
  const asked = traced.flatMap(({ row, subject, trackings }) => {
    const helm = trackings.find(({ engine }) => engine === 'helm');
    if (!helm || actorOf(policy, subject.user)?.kind !== 'helm_controller') return [];
    const key = {
      apiGroup: 'helm.toolkit.fluxcd.io',
      resource: 'helmreleases',
      namespace: helm.namespace!,
      name: helm.name,
    };
    return [{ row, key, id: objectID(key), at: subject.at }];
  });
  const releases = new Map<string, Release>();
  if (asked.length === 0) return releases;
  const { rows } = await client.query<{
    change_id: string;
    after_digest: Buffer | null;
    micros: string;
    labels: string[] | null;
  }>({
    name: 'releases-at',
    text: `select q.change_id, v.after_digest, (extract(epoch from s.at) * 1000000)::bigint as micros, s.labels
             from unnest($2::uuid[], $3::uuid[], $4::timestamptz[]) as q (change_id, object_id, at)
            cross join lateral (
              select after_digest from changes where cluster_id = $1 and object_id = q.object_id and at <= q.at
               order by at desc limit 1) v
            cross join lateral (
              select at, labels from (
                select * from changes where cluster_id = $1 and object_id = q.object_id and at <= q.at order by at desc limit 500) r
               where class = 'change' and (kind = 'create' or field_terms is null or field_terms && '{spec}')
               order by at desc limit 1) s`,
    values: [
      clusterID,
      asked.map(({ row }) => row.change_id),
      asked.map(({ id }) => id),
      asked.map(({ at }) => formatMicros(at)),
    ],
  });
  const bodies = await bodyCache.load(
    client,
    clusterID,
    rows.flatMap((row) => (row.after_digest ? [row.after_digest.toString('hex')] : [])),
  );
  for (const row of rows) {
    const { key } = asked.find((question) => question.row.change_id === row.change_id)!;
    const release = bodyOf(bodies, row.after_digest);
    const history = field(release, 'status', 'history');
    const latest = Array.isArray(history) ? history[0] : undefined;
    const labels = { labels: row.labels ?? [] };
    const namespace = labelOf(labels, 'kustomize.toolkit.fluxcd.io/namespace');
    const name = labelOf(labels, 'kustomize.toolkit.fluxcd.io/name');
    const chart = text(field(latest, 'chartName')) ?? text(field(release, 'spec', 'chart', 'spec', 'chart'));
    const ociDigest = text(field(latest, 'ociDigest'));
    releases.set(row.change_id, {
      parent: namespace !== undefined && name !== undefined ? { namespace, name } : undefined,
      record: {
        key,
        chart:
          chart === undefined
            ? undefined
            : {
                name: chart,
                version: text(field(latest, 'chartVersion')) ?? '',
                ...(ociDigest && { ociDigest }),
              },
        configDigest: text(field(latest, 'configDigest')),
        sourceKind:
          text(field(release, 'spec', 'chart', 'spec', 'sourceRef', 'kind')) ??
          text(field(release, 'spec', 'chartRef', 'kind')),
        changedAt: Number(row.micros),
        parent: [],
      },
    });
  }
  return releases;
}
