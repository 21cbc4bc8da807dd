import type { Pool } from 'pg';
import type { JsonObject } from '../../core/audit-event.js';
import { RecentMap } from '../../core/recent.js';
import { findMirroredRepo } from '../../store/repos.js';
import type { GitAnswers, RenderedManifests } from '../../store/verdicts/commit-facts.js';
import { assertSha } from './content.js';
import { recomputeEquivalence } from './equivalence.js';
import { mirrorFolder } from './mirror.js';
import { ObjectReaders } from './object-readers.js';
import { readOwners } from './owners.js';
import { plainEquivalence } from './plain-merge.js';
import { type ManifestRedaction, Manifests, type MirrorPlace } from './render.js';
import { type ProgramPaths, RenderPrograms } from './render-programs.js';

/** Changes of one deployment ask for the same manifests, one after the other. */
const RECENT_ANSWERS = 1000;
/** Names are others' words: there may be any number that aren't mirrored. */
const RECENT_NAMES = 1000;
/** For how long a repository's name is taken to mean the same. */
const KEEP_NAMES_MS = 5000;

/**
 * What verdicts ask of git, from the mirrors on this machine's disk.
 * @param redaction as bodies of events are redacted, so that the two can be compared
 */
export function gitAnswers(
  gitDir: string,
  pool: Pool,
  redaction: ManifestRedaction,
  programs: ProgramPaths = {},
): GitAnswers {
  const readers = new ObjectReaders();
  const rendering = new Manifests(redaction, new RenderPrograms(programs), pool);
  // What they hold is kept, or not, where it is rendered.
  const answers = new RecentMap<string, WeakRef<RenderedManifests>>(RECENT_ANSWERS);
  const mirrors = new RecentMap<string, { mirror: MirrorPlace | undefined; until: number }>(RECENT_NAMES);
  const mirrorOf = async (name: string): Promise<MirrorPlace | undefined> => {
    const known = mirrors.get(name);
    if (known && performance.now() < known.until) return known.mirror;
    const repo = await findMirroredRepo(pool, name);
    const mirror = repo && { repoID: repo.id, folder: mirrorFolder(gitDir, repo.id) };
    mirrors.set(name, { mirror, until: performance.now() + KEEP_NAMES_MS });
    return mirror;
  };
  const manifests: GitAnswers['manifests'] = async (repo, sha, path, reading) => {
    const mirror = await mirrorOf(repo);
    const key = `${mirror?.folder} ${sha} ${path} ${JSON.stringify(reading)}`;
    const known = answers.get(key)?.deref();
    if (known) return known;
    const objects = mirror && readers.of(mirror.folder);
    if (!objects) return { unknown: `there is no mirror of ${repo} here` };
    try {
      const rendered = await rendering.of(objects, mirror, assertSha(sha), path, reading);
      // What isn't there may come.
      if (rendered.manifests) answers.set(key, new WeakRef(rendered));
      return rendered;
    } catch (error) {
      return { unknown: `git could not tell: ${(error as Error).message.slice(0, 200)}` };
    }
  };
  return {
    equivalence: async (repo, merged, graph) => {
      const folder = (await mirrorOf(repo))?.folder;
      if (folder === undefined) return { kind: 'unknown', detail: `repository ${repo} is not mirrored` };
      try {
        const objects = readers.of(folder);
        const plain = objects && (await plainEquivalence(objects, folder, merged, graph));
        return plain ?? (await recomputeEquivalence(folder, merged));
      } catch (error) {
        return { kind: 'unknown', detail: `git could not tell: ${(error as Error).message.slice(0, 200)}` };
      }
    },
    owners: async (repo, revision) => {
      const mirror = await mirrorOf(repo);
      const objects = mirror && readers.of(mirror.folder);
      if (!objects) return { unknown: `there is no mirror of ${repo} here` };
      try {
        return await readOwners(objects, revision);
      } catch (error) {
        return { unknown: `git could not tell: ${(error as Error).message.slice(0, 200)}` };
      }
    },
    manifests,
    manifest: async (repo, sha, path, object, reading = { recurse: true }) => {
      const rendered = await manifests(repo, sha, path, reading);
      if (rendered.unknown !== undefined) return { unknown: rendered.unknown };
      const [found, other] = rendered.manifests.filter((manifest) => isOf(manifest, object));
      if (!found) return undefined;
      if (other) return { unknown: `${path || 'the repository'} has several manifests of it` };
      // SOPS: https://github.com/getsops/sops, whose metadata stand under this key.
      if (found.sops !== undefined) return { unknown: 'its manifest is encrypted' };
      return { manifest: found, renderer: rendered.renderer };
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
