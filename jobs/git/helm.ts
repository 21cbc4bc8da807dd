import { lstat, readdir, writeFile } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import type { ChartReading } from '../../core/links/source-reading.js';
import type { RenderedManifests } from '../../store/verdicts/commit-facts.js';
import { withCheckedOut } from './checked-out.js';
import { repositoryPath } from './content.js';
import { readManifests } from './read-manifests.js';
import { failureText, type Program, type ProgramFailure, runProgram } from './render-programs.js';

/** A release's name as helm takes it (helm pkg/chart/v2/util/validate_name.go); a namespace is no longer. */
const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
const WORD = /^[A-Za-z0-9][\w./+-]{0,250}$/;

/**
 * Renders a chart of a revision as `helm template` does, without a cluster and without the network: what a chart asks the
 * cluster for (`lookup`) is empty, and its API versions are helm's own unless the source names them. What it depends on
 * must lie in its `charts` folder.
 */
export async function renderChart(
  helm: Program,
  folder: string,
  sha: string,
  path: string,
  chart: ChartReading,
): Promise<RenderedManifests> {
  const refusal = refusedName(chart);
  if (refusal !== undefined) return { unknown: refusal };
  return withCheckedOut(folder, sha, async ({ tree, work }) => {
    const target = join(tree, repositoryPath(path));
    if (!helm.skipsSchemas && (await holdsSchemas(target)))
      return {
        unknown: `${helm.name} would read schemas of the chart, which may fetch: 3.16 and later needn't`,
      };
    const values = await valueFilesOf(chart, target, tree);
    if (typeof values === 'string') return { unknown: values };
    if (chart.values) {
      const file = join(work, 'values.json');
      await writeFile(file, JSON.stringify(chart.values));
      values.push(file);
    }
    const built = await runProgram(helm, argumentsOf(helm, chart, target, values), work);
    if (!('stdout' in built)) return { unknown: `helm could not render it: ${saidBy(built, helm)}` };
    const manifests = readManifests(built.stdout);
    return manifests
      ? { manifests, renderer: helm.name }
      : { unknown: 'what helm made of the chart is no YAML' };
  });
}

function argumentsOf(
  helm: Program,
  chart: ChartReading,
  target: string,
  values: readonly string[],
): string[] {
  return [
    chart.release,
    target,
    '--namespace',
    chart.namespace || 'default',
    ...(chart.includeCrds ? ['--include-crds'] : []),
    ...(helm.skipsSchemas ? ['--skip-schema-validation'] : []),
    ...(chart.kubeVersion === undefined ? [] : ['--kube-version', chart.kubeVersion]),
    ...(chart.apiVersions ?? []).flatMap((version) => ['--api-versions', version]),
    ...values.flatMap((file) => ['--values', file]),
  ];
}

/** What goes to helm as an argument must not be taken for a flag, or for more than one. */
function refusedName({ release, namespace, kubeVersion, apiVersions }: ChartReading): string | undefined {
  if (!NAME.test(release)) return `"${release.slice(0, 60)}" is no name for a release`;
  if (namespace !== '' && !NAME.test(namespace)) return `"${namespace.slice(0, 60)}" is no namespace`;
  const word = [kubeVersion ?? 'v1', ...(apiVersions ?? [])].find((one) => !WORD.test(one));
  return word === undefined ? undefined : `"${word.slice(0, 60)}" is no version`;
}

/** Files of values as paths, in order; else why they can't be had. Later ones win. */
async function valueFilesOf(chart: ChartReading, target: string, tree: string): Promise<string[] | string> {
  const files: string[] = [];
  for (const name of chart.valueFiles) {
    const file = name.startsWith('/') ? join(tree, name) : resolve(target, name);
    const inside = !name.includes('://') && !relative(tree, file).startsWith('..');
    const there = inside ? await lstat(file).catch(() => undefined) : undefined;
    if (there?.isFile()) files.push(file);
    else if (!(inside && chart.ignoreMissing))
      return `its values ${name.slice(0, 200)} are not in the repository`;
  }
  return files;
}

/** Whether a chart brings schemas of its values; packed charts may. */
async function holdsSchemas(target: string): Promise<boolean> {
  const files = await readdir(target, { recursive: true });
  return files.some((file) => basename(file) === 'values.schema.json' || /\.(tgz|tar\.gz)$/.test(file));
}

/** Where it failed, never in helm's own words: those may hold values. */
function saidBy(failure: ProgramFailure, helm: Program): string {
  const known = failureText(failure, helm);
  if (known !== undefined) return known;
  const { stderr } = failure;
  const missing = /missing in charts\/ directory: ([\w., -]{1,200})/.exec(stderr)?.[1];
  if (missing !== undefined) return `what it depends on is not in its folder charts: ${missing}`;
  if (/incompatible with Kubernetes/.test(stderr)) return 'it asks for another version of Kubernetes';
  const place = /(?:template: |\()([\w./-]{1,200}:\d+(?::\d+)?)/.exec(stderr)?.[1];
  return place === undefined ? 'it ended with an error' : `it failed at ${place}`;
}
