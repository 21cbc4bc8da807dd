import type { Pool } from 'pg';
import type { JsonObject } from '../../core/audit-event.js';
import { findMirroredRepo } from '../../store/repos.js';
import type { GitAnswers, RenderedManifests } from '../../store/verdicts/commit-facts.js';
import { assertSha } from './content.js';
import { recomputeEquivalence } from './equivalence.js';
import { mirrorFolder } from './mirror.js';
import { ObjectReaders } from './object-readers.js';
import { plainEquivalence } from './plain-merge.js';
import { Manifests } from './render.js';

/** Changes of one deployment ask for the same manifests, one after the other. */
const KEPT_ANSWERS = 2000;
/** For how long a repository's name is taken to mean the same. */
const KEEP_NAMES_MS = 5000;

/**
 * What verdicts ask of git, from the mirrors on this machine's disk.
 * @param redact as bodies of events are redacted, so that the two can be compared
 */
export function gitAnswers(
  gitDir: string,
  pool: Pool,
  redact: (manifest: JsonObject) => JsonObject,
): GitAnswers {
  const readers = new ObjectReaders();
  const rendering = new Manifests(redact);
  const answers = new Map<string, RenderedManifests>();
  const folders = new Map<string, { folder: string | undefined; until: number }>();
  const folderOf = async (name: string): Promise<string | undefined> => {
    const known = folders.get(name);
    if (known && performance.now() < known.until) return known.folder;
    const repo = await findMirroredRepo(pool, name);
    const folder = repo && mirrorFolder(gitDir, repo.id);
    folders.set(name, { folder, until: performance.now() + KEEP_NAMES_MS });
    return folder;
  };
  const manifests: GitAnswers['manifests'] = async (repo, sha, path, { recurse }) => {
    const folder = await folderOf(repo);
    const key = `${folder} ${sha} ${path} ${recurse}`;
    const known = answers.get(key);
    if (known) return known;
    const objects = folder === undefined ? undefined : readers.of(folder);
    if (!objects) return { unknown: `there is no mirror of ${repo} here` };
    try {
      const rendered = await rendering.of(objects, folder!, assertSha(sha), path, recurse);
      // What isn't there may come.
      if (rendered.manifests) answers.set(key, rendered);
      if (answers.size > KEPT_ANSWERS) answers.delete(answers.keys().next().value!);
      return rendered;
    } catch (error) {
      return { unknown: `git could not tell: ${(error as Error).message.slice(0, 200)}` };
    }
  };
  return {
    equivalence: async (repo, merged, graph) => {
      const folder = await folderOf(repo);
      if (folder === undefined) return { kind: 'unknown', detail: `repository ${repo} is not mirrored` };
      try {
        const objects = readers.of(folder);
        const plain = objects && (await plainEquivalence(objects, folder, merged, graph));
        return plain ?? (await recomputeEquivalence(folder, merged));
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
