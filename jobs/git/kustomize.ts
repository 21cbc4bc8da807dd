import { execFile } from 'node:child_process';
import { lstat, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import type { RenderedManifests } from '../../store/verdicts/commit-facts.js';
import { assertSha, repositoryPath } from './content.js';
import { runGit } from './git-process.js';
import { readManifests } from './read-manifests.js';

const run = promisify(execFile);
const TIMEOUT_MS = 30_000;
const MOST_OUTPUT = 32 * 1024 * 1024;
const NAMES = ['kustomization.yaml', 'kustomization.yml', 'Kustomization'];
/** Programs that build kustomizations, the first that is there. */
const PROGRAMS: ReadonlyArray<
  readonly [program: string, build: readonly string[], version: readonly string[]]
> = [
  ['kustomize', ['build'], ['version']],
  ['kubectl', ['kustomize'], ['version', '--client']],
];

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

let known: Promise<{ program: string; build: readonly string[]; version: string } | undefined> | undefined;

/** Builds a kustomization of a revision, in a folder of its own that is gone afterwards, without the network. */
export async function renderKustomization(
  folder: string,
  sha: string,
  path: string,
): Promise<RenderedManifests> {
  known ??= findProgram();
  const found = await known;
  if (!found) return { unknown: 'neither kustomize nor kubectl is on the PATH' };
  const work = await mkdtemp(join(tmpdir(), 'whochanged-kustomize-'));
  try {
    const tree = join(work, 'tree');
    await checkOut(folder, sha, work, tree);
    const target = join(tree, repositoryPath(path));
    const refusal = await refusalOf(target, tree, new Set());
    if (refusal !== undefined) return { unknown: refusal };
    const { stdout } = await run(found.program, [...found.build, target], {
      timeout: TIMEOUT_MS,
      maxBuffer: MOST_OUTPUT,
      env: { PATH: process.env.PATH ?? '', HOME: work, TMPDIR: work, KUBECONFIG: '/dev/null' },
      cwd: work,
    });
    const manifests = readManifests(stdout);
    return manifests
      ? { manifests, renderer: `kustomize (${found.program} ${found.version})` }
      : { unknown: 'what kustomize built is no YAML' };
  } catch (error) {
    const said = String((error as { stderr?: string }).stderr ?? (error as Error).message);
    return { unknown: `kustomize could not build it: ${said.replaceAll(work, '').trim().slice(0, 300)}` };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Writes a revision's files into a folder; links become files that hold where they lead. */
async function checkOut(folder: string, sha: string, work: string, tree: string): Promise<void> {
  const environment = { GIT_INDEX_FILE: join(work, 'index') };
  await runGit({ folder, args: ['read-tree', assertSha(sha)], environment });
  await runGit({
    folder,
    args: ['checkout-index', '--all', `--prefix=${tree}/`],
    environment,
    settings: [
      ['core.symlinks', 'false'],
      ['core.bare', 'false'],
      ['core.worktree', work],
    ],
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

async function findProgram() {
  for (const [program, build, version] of PROGRAMS) {
    const said = await run(program, [...version], { timeout: TIMEOUT_MS }).catch(() => undefined);
    if (said)
      return { program, build, version: /v\d+\.\d+\.\d+\S*/.exec(said.stdout)?.[0] ?? 'of no known version' };
  }
  return undefined;
}
