import type { Pool } from 'pg';
import type { JsonObject } from '../../core/audit-event.js';
import { sha256 } from '../../core/canonical.js';
import type { SourceReading } from '../../core/links/source-reading.js';
import { ParsedValues } from '../../core/parsed-values.js';
import { findRendering, keepRendering } from '../../store/renderings.js';
import type { RenderedManifests } from '../../store/verdicts/commit-facts.js';
import { repositoryPath } from './content.js';
import { renderChart } from './helm.js';
import { renderKustomization } from './kustomize.js';
import type { GitObjects } from './objects.js';
import { readManifests } from './read-manifests.js';
import type { RenderPrograms } from './render-programs.js';
import { filesIn, type TreeFile } from './trees.js';

const MANIFEST = /\.(ya?ml|json)$/;
const KUSTOMIZATION = /^(kustomization\.ya?ml|Kustomization)$/;
/** By which Argo CD, and its Image Updater, change parameters of a source (argo-cd docs/user-guide/parameters.md). */
const ARGOCD_OVERRIDES = /^\.argocd-source(-.+)?\.yaml$/;
const MOST_FILES = 500;
const MOST_BYTES = 4 * 1024 * 1024;
/** Memory for what trees render to, and for plain files' manifests, in bytes of heap. */
const KEPT_TREES = 32 * 1024 * 1024;
const KEPT_FILES = 8 * 1024 * 1024;

/** How secrets are taken out of manifests, and of what programs say. */
export interface ManifestRedaction {
  manifest: (manifest: JsonObject) => JsonObject;
  text: (text: string) => string;
  /** Names rules, key and version; undefined: what is rendered is kept in memory only. */
  id: string | undefined;
}

/** A mirror on this machine's disk. */
export interface MirrorPlace {
  repoID: number;
  folder: string;
}

/**
 * The manifests that folders and files of revisions make: plain files as they are, kustomizations and charts by their
 * programs where those are there. What a file or folder holds is known by its id and kept: commits change little.
 */
export class Manifests {
  readonly #redaction: ManifestRedaction;
  readonly #programs: RenderPrograms;
  readonly #pool: Pool | undefined;
  /** One alone may take all of it: it is asked for once for each of its objects, and a chart takes a program seconds. */
  readonly #trees = new ParsedValues<RenderedManifests>(KEPT_TREES, 1);
  readonly #rendering = new Map<string, Promise<RenderedManifests>>();
  readonly #files = new ParsedValues<JsonObject[]>(KEPT_FILES);

  /** @param pool where what programs made is kept */
  constructor(redaction: ManifestRedaction, programs: RenderPrograms, pool?: Pool) {
    this.#redaction = redaction;
    this.#programs = programs;
    this.#pool = pool;
  }

  async of(
    objects: GitObjects,
    mirror: MirrorPlace,
    sha: string,
    path: string,
    reading: SourceReading,
  ): Promise<RenderedManifests> {
    if (reading.settings?.length)
      return {
        unknown: `${reading.settings.join(', ')} of its application make something else of the files`,
      };
    const { recurse } = reading;
    const { folder } = mirror;
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
    if (named(ARGOCD_OVERRIDES))
      return { unknown: `${at || 'it'} has a file of Argo CD that overrides the others` };
    if (named(/^Chart\.yaml$/) || named(KUSTOMIZATION)) {
      // What becomes of a folder depends on folders beside it.
      const tree = (await objects.read(`${sha}^{tree}`))!.sha;
      return named(KUSTOMIZATION) && !named(/^Chart\.yaml$/)
        ? this.#kustomization(mirror, sha, tree, at)
        : this.#chart(mirror, sha, tree, at, reading.chart);
    }
    if (named(/\/(kustomization\.ya?ml|Kustomization|Chart\.yaml)$/))
      return { unknown: `a folder below ${at || 'it'} is a kustomization or a chart` };
    return this.#kept(`${folder} ${found.sha} ${recurse}`, () => this.#readAll(objects, files, at));
  }

  async #kustomization(
    mirror: MirrorPlace,
    sha: string,
    tree: string,
    path: string,
  ): Promise<RenderedManifests> {
    const kustomize = await this.#programs.kustomize();
    if (!kustomize) return { unknown: 'neither kustomize nor kubectl is there to build its kustomization' };
    const { text } = this.#redaction;
    return this.#made(mirror, { tree, path, renderer: `kustomize (${kustomize.name})`, told: '' }, () =>
      renderKustomization(kustomize, mirror.folder, sha, path, text),
    );
  }

  async #chart(
    mirror: MirrorPlace,
    sha: string,
    tree: string,
    path: string,
    chart: SourceReading['chart'],
  ): Promise<RenderedManifests> {
    if (!chart)
      return { unknown: `${path || 'it'} is a chart, and nothing tells with what values it is rendered` };
    const helm = await this.#programs.helm();
    if (!helm) return { unknown: `${path || 'it'} is a chart, and there is no helm to render it` };
    const told = sha256(JSON.stringify(chart)).toString('hex').slice(0, 16);
    return this.#made(mirror, { tree, path, renderer: helm.name, told }, () =>
      renderChart(helm, mirror.folder, sha, path, chart),
    );
  }

  /** What a program makes, where it wasn't made before, here or by a process that kept it in Postgres. */
  #made(
    { repoID, folder }: MirrorPlace,
    { tree, path, renderer, told }: { tree: string; path: string; renderer: string; told: string },
    make: () => Promise<RenderedManifests>,
  ): Promise<RenderedManifests> {
    const redactedBy = this.#redaction.id;
    const pool = redactedBy === undefined ? undefined : this.#pool;
    const by = `${renderer} ${told}`.trim();
    const key = { repoID, tree, path, renderer: by, redactedBy: redactedBy ?? '' };
    return this.#kept(`${folder} ${tree} ${path} ${by}`, async () => {
      const known = pool && (await findRendering(pool, key));
      if (known) return { manifests: known, renderer };
      const made = await make();
      if (made.unknown !== undefined) return made;
      const manifests = made.manifests.map(this.#redaction.manifest);
      if (pool) await keepRendering(pool, key, manifests);
      return { manifests, renderer };
    });
  }

  /** What trees render to never changes; what failed is tried again. */
  async #kept(key: string, render: () => Promise<RenderedManifests>): Promise<RenderedManifests> {
    const known = this.#trees.get(key) ?? this.#rendering.get(key);
    if (known) return known;
    const rendering = render();
    this.#rendering.set(key, rendering);
    try {
      const rendered = await rendering;
      this.#trees.put(key, rendered, JSON.stringify(rendered).length);
      return rendered;
    } finally {
      this.#rendering.delete(key);
    }
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
    const manifests = readManifests(blob.content.toString('utf8'))?.map(this.#redaction.manifest);
    if (!manifests) return 'is no YAML or JSON that could be read';
    this.#files.put(file.sha, manifests, blob.content.length);
    return manifests;
  }
}
