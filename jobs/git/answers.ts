import type { Pool } from 'pg';
import { parseAllDocuments } from 'yaml';
import { findMirroredRepo } from '../../store/repos.js';
import type { GitAnswers } from '../../store/verdicts/commit-facts.js';
import { fileAt, filesAt, objectAt } from './content.js';
import { recomputeEquivalence } from './equivalence.js';
import { hasCommit } from './history.js';
import { mirrorFolder } from './mirror.js';

const MANIFEST = /\.(ya?ml|json)$/;
const MOST_FILES = 500;
const MOST_BYTES = 4 * 1024 * 1024;
const KEPT_TREES = 200;

type Manifest = Record<string, unknown>;

/** What verdicts ask of git, from the mirrors on this machine's disk. */
export function gitAnswers(gitDir: string, pool: Pool): GitAnswers {
  /** The manifests of a tree, which never change. */
  const trees = new Map<string, Manifest[]>();
  const folderOf = async (name: string) => {
    const repo = await findMirroredRepo(pool, name);
    return repo && mirrorFolder(gitDir, repo.id);
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
    manifest: async (repo, sha, path, object) => {
      const folder = await folderOf(repo);
      if (folder === undefined || !(await hasCommit(folder, sha))) return undefined;
      const tree = await objectAt(folder, sha, path);
      if (tree === undefined) return undefined;
      const key = `${repo} ${tree}`;
      let manifests = trees.get(key);
      if (!manifests) {
        manifests = await plainManifests(folder, sha, path);
        trees.set(key, manifests);
        if (trees.size > KEPT_TREES) trees.delete(trees.keys().next().value!);
      }
      const found = manifests.filter((manifest) => isOf(manifest, object));
      return found.length === 1 ? { manifest: found[0]!, renderer: 'plain' } : undefined;
    },
  };
}

/** The objects of plain manifests at a path; none where a tool would make something else of them. */
async function plainManifests(folder: string, sha: string, path: string): Promise<Manifest[]> {
  const files = await filesAt(folder, sha, path);
  const rendered = files.some(({ path: file }) =>
    /(^|\/)(kustomization\.ya?ml|Kustomization|Chart\.yaml)$/.test(file),
  );
  if (rendered || files.length > MOST_FILES) return [];
  const manifests: Manifest[] = [];
  for (const file of files) {
    if (!MANIFEST.test(file.path) || file.mode.startsWith('12') || file.mode.startsWith('16')) continue;
    const content = await fileAt(folder, sha, file.path);
    if (!content || content.length > MOST_BYTES) continue;
    for (const document of parseAllDocuments(content.toString('utf8'))) {
      if (!('toJS' in document) || document.errors.length > 0) continue;
      const value: unknown = document.toJS({ maxAliasCount: 100 });
      if (typeof value === 'object' && value !== null && !Array.isArray(value))
        manifests.push(value as Manifest);
    }
  }
  return manifests;
}

function isOf(
  manifest: Manifest,
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
