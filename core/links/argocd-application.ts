import type { Json, JsonObject } from '../audit-event.js';
import { canonicalJson, sha256 } from '../canonical.js';
import { isJsonObject } from '../classify.js';
import { deepEqual } from '../diff/diff.js';
import type { ObjectKey } from '../identity.js';
import { parseMicros } from '../timestamp.js';
import { field, text } from './json-field.js';
import { isSha, type LinkedSource, type NonGitInput } from './link.js';
import { readingOfArgocd } from './source-reading.js';
import { type RecordWrite, type Sync, type SyncedObject, syncID } from './sync.js';

export function isApplication(key: ObjectKey): boolean {
  return key.apiGroup === 'argoproj.io' && key.resource === 'applications';
}

/**
 * The sync that a write of an Application records, where it touched `status.operationState`. What an earlier write put
 * there is that write's word, whoever writes the object next.
 * Source: argo-cd pkg/apis/application/v1alpha1/types.go (OperationState, SyncOperationResult, SourceHydratorStatus).
 */
export function syncOfApplication(write: RecordWrite): Sync | undefined {
  const state = field(write.after, 'status', 'operationState');
  if (!isJsonObject(state)) return undefined;
  const former = field(write.before, 'status', 'operationState');
  if (isJsonObject(former) && deepEqual(former, state)) return undefined;
  const startedAt = parseMicros(state.startedAt);
  const operation = field(state, 'operation');
  const sync = field(operation, 'sync');
  if (startedAt === undefined || !isJsonObject(sync)) return undefined;
  const result = field(state, 'syncResult');
  const initiator = field(operation, 'initiatedBy');
  const username = text(field(initiator, 'username'));
  const remote = isRemote(write.after);
  return {
    id: syncID(write.objectID, startedAt),
    engine: 'argocd',
    application: { objectID: write.objectID, key: write.key },
    ...(remote !== undefined && { remote }),
    startedAt,
    finishedAt: parseMicros(state.finishedAt),
    phase: phaseOf(text(state.phase)),
    sources: sourcesOf(write.after, sync, result),
    objects: objectsOf(field(result, 'resources')),
    initiator: {
      automated: field(initiator, 'automated') === true,
      ...(username !== undefined && { username }),
    },
    nonGit: nonGitInputs(write.after, sync, result),
    dryRun: sync.dryRun === true,
    operationDigest: sha256(canonicalJson(state.operation)).toString('hex'),
    recorders: [write.username],
    changeID: write.changeID,
  };
}

/**
 * Whether an Application deploys to another cluster than its own; undefined: it doesn't tell. The cluster that Argo CD runs
 * in has one address and one name (argo-cd common/common.go, KubernetesInternalAPIServerAddr).
 */
export function isRemote(application: JsonObject | undefined): boolean | undefined {
  const destination = field(application, 'spec', 'destination');
  const [server, name] = [text(field(destination, 'server')), text(field(destination, 'name'))];
  if (server === undefined && name === undefined) return undefined;
  return server !== 'https://kubernetes.default.svc' && name !== 'in-cluster';
}

function phaseOf(phase: string | undefined): Sync['phase'] {
  if (phase === 'Succeeded') return 'succeeded';
  return phase === 'Running' || phase === 'Terminating' || phase === undefined ? 'running' : 'failed';
}

/** The sources that a sync was of, as its result says, else its operation, else the Application. */
function effectiveSources(
  application: JsonObject | undefined,
  sync: JsonObject,
  result: Json | undefined,
): JsonObject[] {
  for (const holder of [result, sync, field(application, 'spec')]) {
    const many = field(holder, 'sources');
    if (Array.isArray(many) && many.length > 0) return many.filter(isJsonObject);
    const one = field(holder, 'source');
    if (isJsonObject(one) && text(one.repoURL)) return [one];
  }
  return [];
}

function sourcesOf(
  application: JsonObject | undefined,
  sync: JsonObject,
  result: Json | undefined,
): LinkedSource[] {
  const hydrator = field(application, 'spec', 'sourceHydrator');
  if (isJsonObject(hydrator)) return hydratedSource(application, hydrator, revisionsOf(sync, result)[0]);
  const revisions = revisionsOf(sync, result);
  return effectiveSources(application, sync, result).map((source, i): LinkedSource => {
    const revision = revisions[i] ?? '';
    const chart = text(source.chart);
    const path = text(source.path);
    const ref = text(source.targetRevision);
    return {
      repository: text(source.repoURL) ?? '',
      revision,
      ...(path !== undefined && { path }),
      ...(ref !== undefined && { ref }),
      ...(chart !== undefined && { chart }),
      ...(chart === undefined &&
        isSha(revision) && { sha: revision, reading: readingOfArgocd(source, application) }),
    };
  });
}

/**
 * A hydrated Application syncs a branch that the hydrator wrote; what people commit and approve is the dry source. The
 * Application's status tells which dry commit was hydrated into which.
 */
function hydratedSource(
  application: JsonObject | undefined,
  hydrator: JsonObject,
  wet: string | undefined,
): LinkedSource[] {
  const dry = field(hydrator, 'drySource');
  const status = field(application, 'status', 'sourceHydrator');
  const known = [field(status, 'lastSuccessfulOperation'), field(status, 'currentOperation')].find(
    (operation) => wet !== undefined && field(operation, 'hydratedSHA') === wet,
  );
  const drySha = text(field(known, 'drySHA'));
  const path = text(field(dry, 'path'));
  const ref = text(field(dry, 'targetRevision'));
  return [
    {
      repository: text(field(dry, 'repoURL')) ?? '',
      revision: drySha ?? `hydrated ${wet ?? ''}`.trim(),
      ...(path !== undefined && { path }),
      ...(ref !== undefined && { ref }),
      ...(drySha !== undefined &&
        isSha(drySha) && { sha: drySha, reading: { recurse: false, settings: ['sourceHydrator'] } }),
    },
  ];
}

function revisionsOf(sync: JsonObject, result: Json | undefined): string[] {
  for (const holder of [result, sync]) {
    const many = field(holder, 'revisions');
    if (Array.isArray(many) && many.length > 0) return many.map((item) => text(item) ?? '');
    const one = text(field(holder, 'revision'));
    if (one !== undefined) return [one];
  }
  return [];
}

/** Settings of a source that replace what its repository says. Value files and the like are in the repository. */
const OVERRIDES: Array<[tool: string, settings: string[]]> = [
  ['helm', ['parameters', 'values', 'valuesObject', 'fileParameters']],
  [
    'kustomize',
    ['images', 'replicas', 'patches', 'commonAnnotations', 'commonLabels', 'namePrefix', 'nameSuffix'],
  ],
  ['plugin', ['env', 'parameters']],
];

function nonGitInputs(
  application: JsonObject | undefined,
  sync: JsonObject,
  result: Json | undefined,
): NonGitInput[] {
  const inputs: NonGitInput[] = [];
  if (Array.isArray(sync.manifests) && sync.manifests.length > 0)
    inputs.push({ kind: 'local_manifests', detail: `${sync.manifests.length} manifests were given by hand` });
  for (const override of overridesOf(effectiveSources(application, sync, result)))
    inputs.push({ kind: 'overrides', detail: override });
  return inputs;
}

/** The overriding settings of some sources, by name: their values may be anything. */
export function overridesOf(sources: readonly JsonObject[]): string[] {
  const found = new Set<string>();
  for (const source of sources)
    for (const [tool, settings] of OVERRIDES)
      for (const setting of settings) {
        const value = field(source, tool, setting);
        if (value !== undefined && value !== null && value !== '' && Object.keys(Object(value)).length > 0)
          found.add(`${tool}.${setting}`);
      }
  return [...found];
}

/** The sources that an Application declares. */
export function declaredSources(application: JsonObject | undefined): JsonObject[] {
  const many = field(application, 'spec', 'sources');
  if (Array.isArray(many) && many.length > 0) return many.filter(isJsonObject);
  const one = field(application, 'spec', 'source');
  return isJsonObject(one) ? [one] : [];
}

function objectsOf(resources: Json | undefined): SyncedObject[] | undefined {
  if (!Array.isArray(resources)) return undefined;
  return resources.filter(isJsonObject).map((resource) => ({
    group: text(resource.group) ?? '',
    kind: text(resource.kind) ?? '',
    namespace: text(resource.namespace) ?? '',
    name: text(resource.name) ?? '',
  }));
}
