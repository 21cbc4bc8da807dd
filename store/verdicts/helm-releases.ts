import type { ClientBase } from 'pg';
import type { JsonObject } from '../../core/audit-event.js';
import { objectID } from '../../core/identity.js';
import type { HelmReleaseRecord } from '../../core/links/evidence.js';
import { chartSourceOf } from '../../core/links/flux-status.js';
import { field, text } from '../../core/links/json-field.js';
import { type LinkedSource, labelOf, type Subject } from '../../core/links/link.js';
import { readingOfHelmRelease } from '../../core/links/source-reading.js';
import type { Tracking } from '../../core/links/tracking.js';
import { formatMicros } from '../../core/timestamp.js';
import type { Policy } from '../../core/verdict/policy.js';
import { actorOf } from '../../core/verdict/policy-match.js';
import type { BodyCache } from '../body-cache.js';
import { bodyOf } from '../recorded-changes.js';
import { findVersionsAt } from './controller-records.js';
import type { SubjectRow } from './subjects.js';

/** A HelmRelease, and the Kustomization that it says it belongs to. */
export interface Release {
  record: HelmReleaseRecord;
  parent: { namespace: string; name: string } | undefined;
}

/** The HelmRelease that each object bears the labels of, as it was when the object was written. */
export async function findReleases(
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
    spec_change: string;
    username: string;
  }>({
    name: 'releases-at',
    text: `select q.change_id, v.after_digest, (extract(epoch from s.at) * 1000000)::bigint as micros, s.labels,
                  s.change_id as spec_change, coalesce(u.username, '') as username
             from unnest($2::uuid[], $3::uuid[], $4::timestamptz[]) as q (change_id, object_id, at)
            cross join lateral (
              select after_digest from changes where cluster_id = $1 and object_id = q.object_id and at <= q.at
               order by at desc limit 1) v
            cross join lateral (
              select at, labels, change_id, user_id from (
                select * from changes where cluster_id = $1 and object_id = q.object_id and at <= q.at order by at desc limit 500) r
               where class = 'change' and (kind = 'create' or field_terms is null or field_terms && '{spec}')
               order by at desc limit 1) s
             left join users u on u.cluster_id = $1 and u.id = s.user_id`,
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
  const questions = new Map(asked.map((question) => [question.row.change_id, question]));
  const charts = await findCharts(
    client,
    clusterID,
    rows.map((row) => ({
      changeID: row.change_id,
      at: questions.get(row.change_id)!.at,
      release: bodyOf(bodies, row.after_digest),
    })),
    bodyCache,
  );
  for (const row of rows) {
    const { key } = questions.get(row.change_id)!;
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
        changedBy: { username: row.username, changeID: row.spec_change },
        valuesFrom: valuesFromOf(release),
        chartSource: charts.get(row.change_id),
        parent: [],
        parentOverridesBy: undefined,
      },
    });
  }
  return releases;
}

/** What a HelmRelease takes values from beside its own: they are no part of it. */
function valuesFromOf(release: JsonObject | undefined): string[] {
  const from = field(release, 'spec', 'valuesFrom');
  return Array.isArray(from)
    ? from.map((one) => `${text(field(one, 'kind')) ?? 'something'} ${text(field(one, 'name')) ?? ''}`.trim())
    : [];
}

/** Where the charts of releases lie, of those that lie in a git repository, by change id. */
async function findCharts(
  client: ClientBase,
  clusterID: number,
  releases: ReadonlyArray<{ changeID: string; at: number; release: JsonObject | undefined }>,
  bodyCache: BodyCache,
): Promise<Map<string, LinkedSource>> {
  const asked = releases.flatMap(({ changeID, at, release }) => {
    const chart = field(release, 'spec', 'chart', 'spec');
    const path = text(field(chart, 'chart'));
    const name = text(field(chart, 'sourceRef', 'name'));
    if (!release || !path || !name || text(field(chart, 'sourceRef', 'kind')) !== 'GitRepository') return [];
    const namespace =
      text(field(chart, 'sourceRef', 'namespace')) ?? text(field(release, 'metadata', 'namespace')) ?? '';
    const key = { apiGroup: 'source.toolkit.fluxcd.io', resource: 'gitrepositories', namespace, name };
    return [{ changeID, at, release, path, id: objectID(key) }];
  });
  const sources = await findVersionsAt(
    client,
    clusterID,
    asked.map(({ id, at }) => ({ objectID: id, at })),
    bodyCache,
  );
  return new Map(
    asked.flatMap(({ changeID, at, release, path, id }) => {
      const reading = readingOfHelmRelease(release, holdsDigest);
      const source = chartSourceOf(sources.get(`${id} ${at}`), path, reading);
      return source ? [[changeID, source] as const] : [];
    }),
  );
}

function holdsDigest(value: string): boolean {
  return value.includes('[redacted:');
}
