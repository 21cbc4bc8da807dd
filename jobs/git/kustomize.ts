import { lstat, readdir, readFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { parse } from 'yaml';
import type { RenderedManifests } from '../../store/verdicts/commit-facts.js';
import { withCheckedOut } from './checked-out.js';
import { repositoryPath } from './content.js';
import { readManifests } from './read-manifests.js';
import { failureText, type Program, runProgram } from './render-programs.js';

const NAMES = ['kustomization.yaml', 'kustomization.yml', 'Kustomization'];

/** Settings that name files and folders; all that they name must lie in the repository. */
const REFERENCES = ['resources', 'bases', 'components', 'crds', 'configurations'];
/** Settings that run programs, fetch charts or read what is not the repository's. */
const REFUSED = [
  'generators',
  'transformers',
  'validators',
  'helmCharts',
  'helmChartInflationGenerator',
  'openapi',
];

/**
 * Builds a kustomization of a revision, without the network.
 * @param redactText what kustomize says of a mistake may repeat what it read
 */
export async function renderKustomization(
  kustomize: Program,
  folder: string,
  sha: string,
  path: string,
  redactText: (text: string) => string,
): Promise<RenderedManifests> {
  return withCheckedOut(folder, sha, async ({ tree, work }) => {
    const target = join(tree, repositoryPath(path));
    const refusal = await refusalOf(target, tree, new Set());
    if (refusal !== undefined) return { unknown: refusal };
    const built = await runProgram(kustomize, [target], work);
    if (!('stdout' in built)) {
      const said =
        failureText(built, kustomize) ?? redactText(built.stderr.replaceAll(work, '').trim()).slice(0, 300);
      return { unknown: `kustomize could not build it: ${said}` };
    }
    const manifests = readManifests(built.stdout);
    return manifests
      ? { manifests, renderer: `kustomize (${kustomize.name})` }
      : { unknown: 'what kustomize built is no YAML' };
  });
}

/** Why a kustomization, or one that it takes in, is not built here. */
async function refusalOf(target: string, tree: string, seen: Set<string>): Promise<string | undefined> {
  if (seen.has(target)) return undefined;
  seen.add(target);
  const names: string[] = await readdir(target).catch(() => []);
  const name = NAMES.find((one) => names.includes(one));
  if (name === undefined) return undefined;
  const settings = parse(await readFile(join(target, name), 'utf8'), { maxAliasCount: 100 }) as Record<
    string,
    unknown
  > | null;
  for (const setting of REFUSED)
    if (settings?.[setting] !== undefined) return `its kustomization has ${setting}: that is not built here`;
  const address = addressIn(settings);
  if (address !== undefined)
    return `its kustomization names ${address.slice(0, 200)}, which is not in the repository`;
  for (const setting of REFERENCES) {
    const entries = settings?.[setting];
    if (!Array.isArray(entries)) continue;
    for (const entry of entries) {
      const place = resolve(target, String(entry));
      const inside = !relative(tree, place).startsWith('..');
      const there = inside && (await lstat(place).catch(() => undefined));
      if (!there)
        return `its kustomization takes in ${String(entry).slice(0, 200)}, which is not in the repository`;
      const refusal = there.isDirectory() ? await refusalOf(place, tree, seen) : undefined;
      if (refusal !== undefined) return refusal;
    }
  }
  return undefined;
}

/** Settings that hold texts, not places of files. */
const TEXTS = ['commonAnnotations', 'commonLabels', 'labels', 'literals', 'patch', 'images', 'vars'];

/** A URL among what a kustomization names: kustomize would fetch it. */
function addressIn(value: unknown): string | undefined {
  if (typeof value === 'string') return value.includes('://') ? value : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, item] of Object.entries(value)) {
    const found = TEXTS.includes(key) ? undefined : addressIn(item);
    if (found !== undefined) return found;
  }
  return undefined;
}
