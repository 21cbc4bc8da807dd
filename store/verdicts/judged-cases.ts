import type { ClientBase } from 'pg';
import type { LinkDecision, LinkedSource } from '../../core/links/link.js';
import { placeOf, type Sync, type SyncPlace } from '../../core/links/sync.js';
import { formatMicros } from '../../core/timestamp.js';
import type { Policy } from '../../core/verdict/policy.js';
import { pathOf, type RangeQuestion } from './commit-ranges.js';
import { controllerUsernames } from './controller-usernames.js';
import type { LinkCase } from './link-evidence.js';
import { findSyncHistories } from './syncs.js';

/** A change with its link, and what there is to ask git for. */
export interface JudgedCase {
  link: LinkCase;
  decision: LinkDecision;
  place: SyncPlace | undefined;
  questions: Array<{ source: LinkedSource; question: RangeQuestion; deployedAt: number }>;
}

/** Where each linked sync stands in its application's history, and what there is to ask git for. */
export async function placeCases(
  client: ClientBase,
  clusterID: number,
  decisions: ReadonlyArray<{ link: LinkCase; decision: LinkDecision }>,
  policy: Policy,
): Promise<JudgedCase[]> {
  const ids = decisions.flatMap(({ decision }) =>
    decision.state === 'linked' ? (decision.selected?.syncID ?? []) : [],
  );
  const histories = await findSyncHistories(client, ids, await controllerUsernames(client, policy));
  const bySync = new Map<string, SyncPlace>();
  for (const [id, { sync, history }] of histories) bySync.set(id, placeOf(sync, history));
  const former = await findFormerPipelines(client, clusterID, decisions);
  const charts = await findFormerCharts(client, clusterID, decisions);
  return decisions.map(({ link, decision }): JudgedCase => {
    const selected = decision.state === 'linked' ? decision.selected : undefined;
    const place = selected?.syncID === undefined ? undefined : bySync.get(selected.syncID);
    const deployedAt = place?.first.startedAt ?? link.subject.at;
    const questions = (selected?.sources ?? []).flatMap((source) => {
      if (source.sha === undefined) return [];
      const previous =
        selected?.syncID === undefined
          ? former.get(link.row.change_id)
          : (previousSha(place?.previous, source) ?? charts.get(chartKey(link, source)));
      const question = {
        repository: source.repository,
        previous,
        sha: source.sha,
        path: pathOf(source.path),
      };
      return [{ source, question, deployedAt }];
    });
    return { link, decision, place, questions };
  });
}

/** What the same source was at before; a source that is new had nothing. */
function previousSha(previous: Sync | undefined, source: LinkedSource): string | undefined {
  return previous?.sources.find(
    (other) => other.repository === source.repository && other.path === source.path,
  )?.sha;
}

function chartKey({ row }: LinkCase, { repository, path }: LinkedSource): string {
  return `${row.change_id} ${repository} ${path ?? ''}`;
}

/** The commits that charts in git were at when the same objects were written from others before, by chartKey. */
async function findFormerCharts(
  client: ClientBase,
  clusterID: number,
  decisions: ReadonlyArray<{ link: LinkCase; decision: LinkDecision }>,
): Promise<Map<string, string>> {
  const asked = decisions.flatMap(({ link, decision }) => {
    const chart =
      decision.selected?.rule === 'helm_release' ? link.evidence.helmRelease?.chartSource : undefined;
    return decision.state === 'linked' && chart ? [{ link, chart }] : [];
  });
  if (asked.length === 0) return new Map();
  const { rows } = await client.query<{ n: number; sha: string }>({
    name: 'former-charts',
    text: `select q.n::int, l.sha
             from unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[]) with ordinality
               as q (object_id, at, repository, path, sha, n)
            cross join lateral (
              select s->>'sha' as sha from links cross join jsonb_array_elements(sources) s
               where cluster_id = $1 and object_id = q.object_id and at < q.at and selected
                 and s->>'repository' = q.repository and s->>'path' = q.path and s->>'sha' <> q.sha
               order by at desc limit 1) l`,
    values: [
      clusterID,
      asked.map(({ link }) => link.row.object_id),
      asked.map(({ link }) => formatMicros(link.subject.at)),
      asked.map(({ chart }) => chart.repository),
      asked.map(({ chart }) => chart.path ?? ''),
      asked.map(({ chart }) => chart.sha ?? ''),
    ],
  });
  return new Map(rows.map(({ n, sha }) => [chartKey(asked[n - 1]!.link, asked[n - 1]!.chart), sha]));
}

/** The commit that a pipeline deployed the same object from the time before, by change id. */
async function findFormerPipelines(
  client: ClientBase,
  clusterID: number,
  decisions: ReadonlyArray<{ link: LinkCase; decision: LinkDecision }>,
): Promise<Map<string, string>> {
  const asked = decisions.filter(
    ({ decision }) =>
      decision.state === 'linked' &&
      decision.selected?.syncID === undefined &&
      decision.selected?.rule !== 'derived',
  );
  if (asked.length === 0) return new Map();
  const { rows } = await client.query<{ change_id: string; sha: string }>({
    name: 'former-pipelines',
    text: `select q.change_id, l.shas[1] as sha
             from unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[]) as q (change_id, object_id, at, sha)
            cross join lateral (
              select shas from links
               where cluster_id = $1 and object_id = q.object_id and at < q.at and selected and sync_id is null
                 and shas[1] is not null and shas[1] <> q.sha
               order by at desc limit 1) l`,
    values: [
      clusterID,
      asked.map(({ link }) => link.row.change_id),
      asked.map(({ link }) => link.row.object_id),
      asked.map(({ link }) => formatMicros(link.subject.at)),
      asked.map(({ decision }) => decision.selected?.sources[0]?.sha ?? ''),
    ],
  });
  return new Map(rows.map((row) => [row.change_id, row.sha]));
}
