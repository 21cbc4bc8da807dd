import type { ClientBase } from 'pg';
import {
  type ContentComparison,
  compareContent,
  unknownContent,
  wholeObject,
} from '../../core/links/compare-content.js';
import type { LinkDecision, LinkedSource } from '../../core/links/link.js';
import type { AdmissionMutation } from '../../core/manifest/admission.js';
import type { GitAnswers } from './commit-facts.js';
import { pathOf } from './commit-ranges.js';
import type { LinkCase } from './link-evidence.js';
import type { Repositories } from './repositories.js';
import { findSyncsAround, syncOf } from './syncs.js';

/** What was deployed from git when somebody wrote an object that a controller manages: its content may equal that. */
export async function deployedSources(
  client: ClientBase,
  clusterID: number,
  cases: ReadonlyArray<{ link: LinkCase; decision: LinkDecision }>,
): Promise<Map<LinkCase, LinkedSource[]>> {
  const asked = cases.flatMap(({ link, decision }) => {
    if (decision.state === 'linked' || !link.application || link.row.class !== 'change') return [];
    const [engine, namespace, name] = link.application.split('/') as [string, string, string];
    return engine === 'argocd' || engine === 'flux'
      ? [{ link, engine, namespace: namespace || undefined, name, at: link.subject.at } as const]
      : [];
  });
  const found = new Map<LinkCase, LinkedSource[]>();
  if (asked.length === 0) return found;
  const syncs = (await findSyncsAround(client, clusterID, asked)).map(syncOf);
  for (const { link, engine, namespace, name, at } of asked) {
    const last = syncs
      .filter(
        (sync) =>
          sync.engine === engine &&
          sync.application.key.name === name &&
          (namespace === undefined || sync.application.key.namespace === namespace),
      )
      .filter((sync) => sync.startedAt <= at && sync.phase === 'succeeded' && !sync.dryRun)
      .sort((a, b) => b.startedAt - a.startedAt)[0];
    if (last) found.set(link, last.sources);
  }
  return found;
}

/** How what was written stands to the manifests of the commit, where they can be had. */
export async function contentOf(
  link: LinkCase,
  sources: readonly LinkedSource[] | undefined,
  mutations: readonly AdmissionMutation[],
  repositories: Repositories,
  git: GitAnswers | undefined,
): Promise<ContentComparison | undefined> {
  const { row, object, request, subject } = link;
  if (!git || !sources || !object || row.deleted || subject.objectKind === undefined) return undefined;
  let unknown: string | undefined;
  for (const source of sources) {
    const repo = source.sha === undefined ? undefined : repositories.find(source.repository);
    if (!repo) continue;
    const key = { group: row.api_group, kind: subject.objectKind, namespace: row.namespace, name: row.name };
    const found = await git.manifest(repo.name, source.sha!, pathOf(source.path), key, source.reading);
    if (found?.manifest)
      return compareContent(found.manifest, object, wholeObject(request), found.renderer, mutations);
    unknown ??= found?.unknown;
  }
  return unknown === undefined ? undefined : unknownContent(unknown);
}
