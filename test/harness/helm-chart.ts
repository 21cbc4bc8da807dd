import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseAllDocuments } from 'yaml';

const CHART = join(import.meta.dirname, '../../deploy/helm/whochanged');
/** A helm, 3 or 4. Where none is named, tests of the chart are skipped. */
export const HELM = process.env.WHOCHANGED_HELM_BIN;
export const RELEASE = 'wc';

export type Labels = Record<string, string>;

export interface Probe {
  httpGet: { path: string; port: string; scheme: string };
}

export interface Volume {
  name: string;
  emptyDir?: object;
  secret?: { secretName: string; defaultMode: number };
  configMap?: { name: string };
}

export interface Container {
  image: string;
  args: string[];
  env: Array<{
    name: string;
    value?: string;
    valueFrom?: { secretKeyRef: { name: string; key: string } };
  }>;
  ports: Array<{ name: string; containerPort: number }>;
  securityContext: object;
  startupProbe: Probe;
  livenessProbe: Probe;
  readinessProbe: Probe;
  resources: { requests: Labels; limits: Labels };
  volumeMounts: Array<{ name: string; mountPath: string; readOnly?: boolean }>;
}

export interface PodTemplate {
  metadata: { labels: Labels; annotations: Labels };
  spec: { containers: [Container]; volumes: Volume[]; securityContext: object };
}

/** What the chart renders, as far as tests look at it. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; labels?: Labels };
  data?: Labels;
  spec?: {
    replicas?: number;
    maxUnavailable?: number;
    selector?: { matchLabels?: Labels };
    podSelector?: { matchLabels: Labels };
    template?: PodTemplate;
    volumeClaimTemplates?: Array<{ metadata: { name: string } }>;
    [field: string]: unknown;
  };
}

/**
 * The chart with these values, by the real helm.
 * @throws Error with helm's own words where it refuses them
 */
export function renderChart(values: object = {}): Manifest[] {
  const folder = mkdtempSync(join(tmpdir(), 'whochanged-chart-'));
  try {
    const file = join(folder, 'values.json');
    writeFileSync(file, JSON.stringify(values));
    const text = execFileSync(HELM!, ['template', RELEASE, CHART, '--namespace', 'audit', '--values', file], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, HELM_CONFIG_HOME: folder, HELM_CACHE_HOME: folder, HELM_DATA_HOME: folder },
    });
    return parseAllDocuments(text)
      .map((document) => document.toJS() as Manifest | null)
      .filter((manifest) => manifest !== null);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What a pod's container finds: files by their paths under `root`, and the environment with those paths. */
export interface PodWorld {
  environment: Record<string, string>;
  /** The folder that a path of the container is. */
  at(path: string): string;
}

/**
 * Lays the volumes of a pod out under `root`, as a kubelet would: Secrets and ConfigMaps as files, empty folders, claims.
 * @throws Error where the pod asks for a Secret, a key or a ConfigMap that isn't there
 */
export function layOutPod(
  { spec }: PodTemplate,
  means: { root: string; secrets: Record<string, Labels>; manifests: Manifest[] },
): PodWorld {
  const [container] = spec.containers;
  const secretOf = (name: string) => found(means.secrets[name], `Secret ${name}`);
  const filesOf = (name: string): [Labels, number] => {
    const volume = spec.volumes.find((candidate) => candidate.name === name);
    if (volume?.secret) return [secretOf(volume.secret.secretName), volume.secret.defaultMode];
    if (!volume?.configMap) return [{}, 0o600];
    const { configMap } = volume;
    const manifest = means.manifests.find(
      ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === configMap.name,
    );
    return [found(manifest, `ConfigMap ${configMap.name}`).data ?? {}, 0o444];
  };
  for (const { name, mountPath } of container.volumeMounts) {
    const folder = join(means.root, mountPath);
    mkdirSync(folder, { recursive: true });
    const [files, mode] = filesOf(name);
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), text, { mode });
    }
  }
  const mounted = (value: string) =>
    container.volumeMounts.some(({ mountPath }) => value === mountPath || value.startsWith(`${mountPath}/`));
  const environment = Object.fromEntries(
    container.env.map(({ name, value, valueFrom }) => {
      if (valueFrom === undefined) return [name, mounted(value!) ? join(means.root, value!) : value!];
      const { name: secret, key } = valueFrom.secretKeyRef;
      return [name, found(secretOf(secret)[key], `key ${key} of Secret ${secret}`)];
    }),
  );
  return { environment, at: (path) => join(means.root, path) };
}

function found<T>(thing: T | undefined, what: string): T {
  if (thing === undefined) throw new Error(`the pod wants ${what}, which isn't there`);
  return thing;
}
