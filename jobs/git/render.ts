import type { JsonObject } from '../../core/audit-event.js';
import type { RenderedManifests } from '../../store/verdicts/commit-facts.js';
import { repositoryPath } from './content.js';
import { renderKustomization } from './kustomize.js';
import type { GitObjects } from './objects.js';
import { readManifests } from './read-manifests.js';
import { filesIn, type TreeFile } from './trees.js';

const MANIFEST = /\.(ya?ml|json)$/;
const KUSTOMIZATION = /^(kustomization\.ya?ml|Kustomization)$/;
const MOST_FILES = 500;
const MOST_BYTES = 4 * 1024 * 1024;
const KEPT_TREES = 500;
const KEPT_FILES = 10_000;

/**
 * The manifests that folders and files of revisions make: plain files as they are, kustomizations by kustomize where that
 * is on the PATH. Charts take a cluster and values to render, which a repository doesn't have. What a file or folder
 * holds is known by its id and kept: commits change little.
 */
export class Manifests {
  readonly #redact: (manifest: JsonObject) => JsonObject;
  readonly #trees = new Map<string, Promise<RenderedManifests>>();
  readonly #files = new Map<string, JsonObject[]>();

  /** @param redact as bodies of events are redacted */
  constructor(redact: (manifest: JsonObject) => JsonObject) {
    this.#redact = redact;
  }

  /** @param recurse whether plain files of the folders below count */
  async of(
    objects: GitObjects,
    folder: string,
    sha: string,
    path: string,
    recurse: boolean,
  ): Promise<RenderedManifests> {
    const at = repositoryPath(path);
    const found = await objects.read(at === '' ? `${sha}^{tree}` : `${sha}:${at}`);
    if (!found)
      return {
        unknown: (await objects.read(`${sha}^{commit}`))
          ? `commit ${sha.slice(0, 12)} has no ${at}`
          : `commit ${sha} is not in the mirror`,
      };
    if (found.type === 'blob') {
      const file = { path: at.slice(at.lastIndexOf('/') + 1), sha: found.sha, mode: '100644' };
      return this.#kept(`${folder} ${found.sha}`, () =>
        this.#readAll(objects, [file], at.slice(0, Math.max(0, at.lastIndexOf('/')))),
      );
    }
    const files = await filesIn(objects, found, recurse, MOST_FILES);
    if (!files) return { unknown: `${at || 'the repository'} has more than ${MOST_FILES} files: too many` };
    const named = (pattern: RegExp) => files.some((file) => pattern.test(file.path));
    if (named(/^Chart\.yaml$/)) return { unknown: `${at || 'it'} is a chart: those are not rendered` };
    if (named(KUSTOMIZATION)) {
      // What kustomize makes of a folder depends on folders beside it.
      const root = await objects.read(`${sha}^{tree}`);
      return this.#kept(`${folder} ${root?.sha} ${at}`, async () => {
        const built = await renderKustomization(folder, sha, at);
        return built.manifests ? { ...built, manifests: built.manifests.map(this.#redact) } : built;
      });
    }
    if (named(/\/(kustomization\.ya?ml|Kustomization|Chart\.yaml)$/))
      return { unknown: `a folder below ${at || 'it'} is a kustomization or a chart` };
    return this.#kept(`${folder} ${found.sha} ${recurse}`, () => this.#readAll(objects, files, at));
  }

  /** What trees render to never changes; what failed is tried again. */
  #kept(key: string, render: () => Promise<RenderedManifests>): Promise<RenderedManifests> {
    const known = this.#trees.get(key);
    if (known) return known;
    const rendered = render();
    this.#trees.set(key, rendered);
    rendered.catch(() => this.#trees.delete(key));
    forgetOldest(this.#trees, KEPT_TREES);
    return rendered;
  }

  async #readAll(objects: GitObjects, files: readonly TreeFile[], path: string): Promise<RenderedManifests> {
    const manifests: JsonObject[] = [];
    for (const file of files) {
      // Links and submodules have no content here.
      if (!MANIFEST.test(file.path) || !file.mode.startsWith('100')) continue;
      const read = this.#files.get(file.sha) ?? (await this.#read(objects, file));
      if (typeof read === 'string')
        return { unknown: `${[path, file.path].filter((part) => part !== '').join('/')} ${read}` };
      manifests.push(...read);
    }
    return { manifests, renderer: 'plain' };
  }

  async #read(objects: GitObjects, file: TreeFile): Promise<JsonObject[] | string> {
    const blob = await objects.read(file.sha);
    if (!blob) return 'is not in the mirror';
    if (blob.content.length > MOST_BYTES) return `is larger than ${MOST_BYTES} bytes`;
    const manifests = readManifests(blob.content.toString('utf8'))?.map(this.#redact);
    if (!manifests) return 'is no YAML or JSON that could be read';
    this.#files.set(file.sha, manifests);
    forgetOldest(this.#files, KEPT_FILES);
    return manifests;
  }
}

function forgetOldest(map: Map<string, unknown>, most: number): void {
  if (map.size > most) map.delete(map.keys().next().value!);
}
