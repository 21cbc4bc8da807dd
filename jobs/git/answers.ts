import type { Pool } from 'pg';
import type { JsonObject } from '../../core/audit-event.js';
import { findMirroredRepo } from '../../store/repos.js';
import type { GitAnswers, RenderedManifests } from '../../store/verdicts/commit-facts.js';
import { objectAt } from './content.js';
import { recomputeEquivalence } from './equivalence.js';
import { hasCommit } from './history.js';
import { mirrorFolder } from './mirror.js';
import { renderManifests } from './render.js';

const KEPT_TREES = 200;

/**
 * What verdicts ask of git, from the mirrors on this machine's disk.
 * @param redact as bodies of events are redacted, so that the two can be compared
 */
export function gitAnswers(
  gitDir: string,
  pool: Pool,
  redact: (manifest: JsonObject) => JsonObject,
): GitAnswers {
  /** What trees render to, which never changes. */
  const trees = new Map<string, RenderedManifests>();
  const folderOf = async (name: string) => {
    const repo = await findMirroredRepo(pool, name);
    return repo && mirrorFolder(gitDir, repo.id);
  };
  const manifests: GitAnswers['manifests'] = async (repo, sha, path, { recurse }) => {
    const folder = await folderOf(repo);
    if (folder === undefined || !(await hasCommit(folder, sha)))
      return { unknown: `commit ${sha} is not in the mirror of ${repo}` };
    // What kustomize makes of a folder depends on folders beside it.
    const [tree, root] = [await objectAt(folder, sha, path), await objectAt(folder, sha, '')];
    if (tree === undefined) return { unknown: `commit ${sha.slice(0, 12)} of ${repo} has no ${path}` };
    const key = `${repo} ${root} ${path} ${recurse}`;
    let rendered = trees.get(key);
    if (!rendered) {
      rendered = await renderManifests(folder, sha, path, recurse);
      if (rendered.manifests) rendered = { ...rendered, manifests: rendered.manifests.map(redact) };
      trees.set(key, rendered);
      if (trees.size > KEPT_TREES) trees.delete(trees.keys().next().value!);
    }
    return rendered;
  };
  return {
    equivalence: async (repo, merged) => {
      const folder = await folderOf(repo);
      if (folder === undefined) return { kind: 'unknown', detail: `repository ${repo} is not mirrored` };
      try {
        return await recomputeEquivalence(folder, merged);
      } catch (error) {
        return { kind: 'unknown', detail: `git could not tell: ${(error as Error).message.slice(0, 200)}` };
      }
    },
    manifests,
    manifest: async (repo, sha, path, object) => {
      const rendered = await manifests(repo, sha, path, { recurse: true });
      const found = rendered.manifests?.filter((manifest) => isOf(manifest, object)) ?? [];
      return found.length === 1 ? { manifest: found[0]!, renderer: rendered.renderer! } : undefined;
    },
  };
}

function isOf(
  manifest: JsonObject,
  object: { group: string; kind: string; namespace: string; name: string },
): boolean {
  const { apiVersion, kind, metadata } = manifest as {
    apiVersion?: string;
    kind?: string;
    metadata?: { name?: string; namespace?: string };
  };
  const group = apiVersion?.includes('/') ? apiVersion.split('/')[0] : '';
  return (
    kind === object.kind &&
    group === object.group &&
    metadata?.name === object.name &&
    (metadata.namespace ?? object.namespace) === object.namespace
  );
}
