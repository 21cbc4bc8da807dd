import type { JsonObject } from '../../core/audit-event.js';
import type { RenderedManifests } from '../../store/verdicts/commit-facts.js';
import { fileAt, filesAt, type TreeEntry } from './content.js';
import { renderKustomization } from './kustomize.js';
import { readManifests } from './read-manifests.js';

const MANIFEST = /\.(ya?ml|json)$/;
const MOST_FILES = 500;
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * The manifests that a folder or file of a revision makes: plain files as they are, a kustomization by kustomize where
 * that is on the PATH. Charts take a cluster and values to render, which a repository doesn't have.
 * @param recurse whether plain files of the folders below count
 */
export async function renderManifests(
  folder: string,
  sha: string,
  path: string,
  recurse: boolean,
): Promise<RenderedManifests> {
  const files = await filesAt(folder, sha, path);
  const named = (pattern: RegExp) => files.some(({ path: file }) => pattern.test(within(file, path)));
  if (named(/^Chart\.yaml$/)) return { unknown: `${path || 'it'} is a chart: those are not rendered` };
  if (named(/^(kustomization\.ya?ml|Kustomization)$/)) return renderKustomization(folder, sha, path);
  if (recurse && named(/\/(kustomization\.ya?ml|Kustomization|Chart\.yaml)$/))
    return { unknown: `a folder below ${path || 'it'} is a kustomization or a chart` };
  const wanted = files.filter(
    ({ path: file, mode }) =>
      MANIFEST.test(file) &&
      (recurse || !within(file, path).includes('/')) &&
      // Links and submodules have no content here.
      !mode.startsWith('12') &&
      !mode.startsWith('16'),
  );
  if (wanted.length > MOST_FILES) return { unknown: `${path || 'it'} has ${wanted.length} files: too many` };
  return readFiles(folder, sha, wanted);
}

function within(file: string, path: string): string {
  return path === '' || file === path
    ? file.slice(file === path ? file.lastIndexOf('/') + 1 : 0)
    : file.slice(path.length + 1);
}

async function readFiles(
  folder: string,
  sha: string,
  files: readonly TreeEntry[],
): Promise<RenderedManifests> {
  const manifests: JsonObject[] = [];
  for (const file of files) {
    const content = await fileAt(folder, sha, file.path);
    if (!content) continue;
    if (content.length > MOST_BYTES) return { unknown: `${file.path} is larger than ${MOST_BYTES} bytes` };
    const read = readManifests(content.toString('utf8'));
    if (!read) return { unknown: `${file.path} is no YAML or JSON that could be read` };
    manifests.push(...read);
  }
  return { manifests, renderer: 'plain' };
}
