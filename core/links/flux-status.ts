import type { Json, JsonObject } from '../audit-event.js';
import { sha256 } from '../canonical.js';
import { isJsonObject } from '../classify.js';
import type { ObjectKey } from '../identity.js';
import { field, text } from './json-field.js';
import { isSha, type LinkedSource } from './link.js';
import { readingOfFlux, type SourceReading } from './source-reading.js';
import { type RecordWrite, type Sync, syncID } from './sync.js';

export function isKustomization(key: ObjectKey): boolean {
  return key.apiGroup === 'kustomize.toolkit.fluxcd.io' && key.resource === 'kustomizations';
}

export function isHelmRelease(key: ObjectKey): boolean {
  return key.apiGroup === 'helm.toolkit.fluxcd.io' && key.resource === 'helmreleases';
}

/** Where a Kustomization's content comes from, as its source object tells. */
export interface FluxSource {
  kind: string;
  /** spec.url of a GitRepository; for an OCIRepository the repository that its artifact was made from, where told. */
  repository: string | undefined;
  branch: string | undefined;
}

/** The source object that a Kustomization names. */
export function sourceKeyOf(kustomization: JsonObject | undefined, own: ObjectKey): ObjectKey | undefined {
  const reference = field(kustomization, 'spec', 'sourceRef');
  const [kind, name] = [text(field(reference, 'kind')), text(field(reference, 'name'))];
  const resource =
    kind && { GitRepository: 'gitrepositories', OCIRepository: 'ocirepositories', Bucket: 'buckets' }[kind];
  if (!resource || !name) return undefined;
  return {
    apiGroup: 'source.toolkit.fluxcd.io',
    resource,
    namespace: text(field(reference, 'namespace')) ?? own.namespace,
    name,
  };
}

/** What a GitRepository or OCIRepository says of where its content comes from. */
export function fluxSourceOf(kind: string, source: JsonObject | undefined): FluxSource {
  const origin = text(field(source, 'status', 'artifact', 'metadata', 'org.opencontainers.image.source'));
  return {
    kind,
    repository: kind === 'GitRepository' ? text(field(source, 'spec', 'url')) : origin,
    branch: kind === 'GitRepository' ? text(field(source, 'spec', 'ref', 'branch')) : undefined,
  };
}

/**
 * The attempt that a write of a Kustomization's status records. kustomize-controller notes lastAttemptedRevision before
 * it applies, so the revision in force at a time is the one attempted last; lastAppliedRevision stays old where health
 * checks fail. Each attempt is known by when its revision was first noted.
 * Source: fluxcd/kustomize-controller api/v1 KustomizationStatus, internal/controller/kustomization_controller.go.
 *
 * `begun`: when the attempt at the same revision began, where that is known already
 */
export function syncOfKustomization(
  write: RecordWrite,
  source: FluxSource | undefined,
  begun: number | undefined,
): Sync | undefined {
  const status = field(write.after, 'status');
  const attempted = text(field(status, 'lastAttemptedRevision'));
  if (attempted === undefined) return undefined;
  const former = text(field(write.before, 'status', 'lastAttemptedRevision'));
  const ready = condition(status, 'Ready');
  if (former === attempted && ready === condition(field(write.before, 'status'), 'Ready')) return undefined;
  const startedAt = former === attempted ? (begun ?? write.at) : write.at;
  const applied = text(field(status, 'lastAppliedRevision')) === attempted;
  const phase = applied && ready !== 'False' ? 'succeeded' : ready === 'False' ? 'failed' : 'running';
  const origin = applied ? text(field(status, 'lastAppliedOriginRevision')) : undefined;
  return {
    id: syncID(write.objectID, startedAt),
    engine: 'flux',
    application: { objectID: write.objectID, key: write.key },
    startedAt,
    finishedAt: phase === 'running' ? undefined : write.at,
    phase,
    sources: [linkedSource(write.after, source, attempted, origin)],
    objects: undefined,
    initiator: { automated: true },
    nonGit: [],
    dryRun: false,
    operationDigest: sha256(`${attempted}\n${startedAt}`).toString('hex'),
    recorders: [write.username],
    changeID: write.changeID,
  };
}

function linkedSource(
  kustomization: JsonObject | undefined,
  source: FluxSource | undefined,
  attempted: string,
  origin: string | undefined,
): LinkedSource {
  const sha = shaOf(attempted) ?? (origin && shaOf(origin));
  const path = text(field(kustomization, 'spec', 'path'))?.replace(/^\.?\//, '');
  const ref = source?.branch ?? branchOf(origin ?? attempted);
  return {
    repository: source?.repository ?? '',
    revision: origin ? `${attempted} from ${origin}` : attempted,
    ...(path && { path }),
    ...(ref && { ref }),
    ...(sha && { sha, reading: readingOfFlux(kustomization) }),
  };
}

/** The chart of a HelmRelease in a repository, at the revision of the GitRepository's artifact; undefined: it tells none. */
export function chartSourceOf(
  repository: JsonObject | undefined,
  path: string,
  reading: SourceReading,
): LinkedSource | undefined {
  const url = text(field(repository, 'spec', 'url'));
  const revision = text(field(repository, 'status', 'artifact', 'revision'));
  const sha = revision && shaOf(revision);
  const branch = text(field(repository, 'spec', 'ref', 'branch'));
  if (url === undefined || !revision || !sha) return undefined;
  return {
    repository: url,
    path: path.replace(/^\.?\//, ''),
    revision,
    sha,
    reading,
    ...(branch !== undefined && { ref: branch }),
  };
}

/** `main@sha1:...` (RFC-0005 of Flux), or the `main/...` of before. A digest of an artifact is no commit. */
function shaOf(revision: string): string | undefined {
  const found =
    /(?:@sha1:|^sha1:)([0-9a-f]{40})$/.exec(revision)?.[1] ?? /\/([0-9a-f]{40})$/.exec(revision)?.[1];
  return found !== undefined && isSha(found) ? found : undefined;
}

function branchOf(revision: string): string | undefined {
  return /^(.+)@sha1:/.exec(revision)?.[1]?.replace(/^refs\/heads\//, '');
}

function condition(status: Json | undefined, type: string): string | undefined {
  const conditions = field(status, 'conditions');
  if (!Array.isArray(conditions)) return undefined;
  return text(
    field(
      conditions.filter(isJsonObject).find((item) => item.type === type),
      'status',
    ),
  );
}
