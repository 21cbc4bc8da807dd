import type { Json, JsonObject } from '../audit-event.js';
import { isJsonObject } from '../classify.js';
import { field, text } from './json-field.js';

/** How an engine makes manifests of a source's files, as its own object said at the time. */
export interface SourceReading {
  /** Plain files of the folders below count too. */
  recurse: boolean;
  /** Where the path is a chart: what it is rendered with. */
  chart?: ChartReading;
  /** Settings that make something else of the files and are not followed here: then the files alone don't tell. */
  settings?: string[];
}

/** What a chart is rendered with. */
export interface ChartReading {
  release: string;
  namespace: string;
  /** Files of values in the same repository, from the chart's folder; with `/` before, from the repository's root. */
  valueFiles: string[];
  /** Whether a file of values that isn't there is left out. */
  ignoreMissing?: boolean;
  includeCrds: boolean;
  kubeVersion?: string;
  apiVersions?: string[];
  /** Values that stand in the engine's own object. */
  values?: JsonObject;
}

/**
 * How Argo CD reads a source. Source: argo-cd pkg/apis/application/v1alpha1/types.go (ApplicationSource), and
 * reposerver/repository/repository.go for what it takes where nothing is set.
 */
export function readingOfArgocd(
  source: Json | undefined,
  application: JsonObject | undefined,
): SourceReading {
  const directory = field(source, 'directory');
  const helm = field(source, 'helm');
  const valueFiles = texts(field(helm, 'valueFiles'));
  const settings = [
    ...setOf(directory, 'directory', ['include', 'exclude', 'jsonnet']),
    ...setOf(helm, 'helm', ['parameters', 'fileParameters', 'values', 'valuesObject', 'skipTests']),
    ...namesOf(field(source, 'kustomize'))
      .filter((name) => name !== 'version')
      .map((name) => `kustomize.${name}`),
    ...(isSet(field(source, 'plugin')) ? ['plugin'] : []),
    // Those of another source ($ref/...) and of other hosts.
    ...(valueFiles.some((file) => file.startsWith('$') || file.includes('://')) ? ['helm.valueFiles'] : []),
  ];
  const kubeVersion = text(field(helm, 'kubeVersion'));
  const apiVersions = texts(field(helm, 'apiVersions'));
  return {
    recurse: field(directory, 'recurse') === true,
    chart: {
      release: text(field(helm, 'releaseName')) ?? text(field(application, 'metadata', 'name')) ?? '',
      namespace:
        text(field(helm, 'namespace')) ?? text(field(application, 'spec', 'destination', 'namespace')) ?? '',
      valueFiles,
      ...(field(helm, 'ignoreMissingValueFiles') === true && { ignoreMissing: true }),
      includeCrds: field(helm, 'skipCrds') !== true,
      ...(kubeVersion !== undefined && { kubeVersion }),
      ...(apiVersions.length > 0 && { apiVersions }),
    },
    ...(settings.length > 0 && { settings }),
  };
}

/** Settings of a Kustomization by which kustomize-controller changes what it builds. Source: its api/v1 KustomizationSpec. */
export const KUSTOMIZATION_SETTINGS = [
  'patches',
  'patchesStrategicMerge',
  'patchesJson6902',
  'images',
  'components',
  'postBuild',
  'commonMetadata',
  'namePrefix',
  'nameSuffix',
];

/** How kustomize-controller reads a Kustomization's path: all that lies below it. */
export function readingOfFlux(kustomization: JsonObject | undefined): SourceReading {
  const settings = setOf(field(kustomization, 'spec'), '', KUSTOMIZATION_SETTINGS);
  return { recurse: true, ...(settings.length > 0 && { settings }) };
}

/**
 * How helm-controller renders a chart that lies in a repository. Source: fluxcd/helm-controller api/v2 HelmReleaseSpec,
 * GetReleaseName and GetReleaseNamespace.
 * @param isSecret whether a text stands for a secret value that isn't known here
 */
export function readingOfHelmRelease(
  release: JsonObject,
  isSecret: (text: string) => boolean,
): SourceReading {
  const spec = field(release, 'spec');
  const name = text(field(release, 'metadata', 'name')) ?? '';
  const target = text(field(spec, 'targetNamespace'));
  const values = field(spec, 'values');
  const settings = [
    ...setOf(spec, '', ['valuesFrom', 'postRenderers', 'commonMetadata']),
    ...setOf(field(spec, 'chart', 'spec'), 'chart', ['valuesFiles', 'valuesFile']),
    ...(holds(values, isSecret) ? ['values that are secret'] : []),
  ];
  return {
    recurse: false,
    chart: {
      release: text(field(spec, 'releaseName')) ?? (target === undefined ? name : `${target}-${name}`),
      namespace: target ?? text(field(release, 'metadata', 'namespace')) ?? '',
      valueFiles: [],
      includeCrds: true,
      ...(isJsonObject(values) && { values }),
    },
    ...(settings.length > 0 && { settings }),
  };
}

function holds(value: Json | undefined, isSecret: (text: string) => boolean): boolean {
  if (typeof value === 'string') return isSecret(value);
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).some((item) => holds(item, isSecret));
}

function setOf(holder: Json | undefined, prefix: string, names: readonly string[]): string[] {
  return names
    .filter((name) => isSet(field(holder, name)))
    .map((name) => (prefix === '' ? name : `${prefix}.${name}`));
}

function namesOf(holder: Json | undefined): string[] {
  return isJsonObject(holder) ? Object.keys(holder).filter((name) => isSet(holder[name])) : [];
}

function texts(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}

/** Whether a setting says anything: false and what is empty says nothing. */
export function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === false) return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}
