import type { JsonObject } from '../audit-event.js';
import { isJsonObject } from '../classify.js';
import { declaredSources, isRemote } from '../links/argocd-application.js';
import { field, text } from '../links/json-field.js';
import type { LinkedSource } from '../links/link.js';
import { isSet, readingOfArgocd, readingOfFlux, type SourceReading } from '../links/source-reading.js';
import { type ManifestKey, manifestKey, manifestKeyText } from '../manifest/manifest.js';
import type { Engine } from './application-drift.js';
import type { DriftCommit, DriftFinding, DriftUnknown } from './drift.js';

/** What git says of one source of what is deployed. */
export interface SourceState {
  source: LinkedSource;
  /** Commits on the branch that touch the path and are not deployed; undefined: see `unknown`. */
  ahead: DriftCommit[] | undefined;
  /** The branch that was looked at, and as of when the mirror is. */
  branch: string | undefined;
  fetchedAt: string | undefined;
  /** Why it isn't known what is ahead. */
  unknown: string | undefined;
}

/** The commits that git has and the cluster doesn't. */
export function commitDrift(sources: readonly SourceState[]): {
  findings: DriftFinding[];
  unknowns: DriftUnknown[];
} {
  const findings: DriftFinding[] = [];
  const unknowns: DriftUnknown[] = [];
  for (const { source, ahead, branch, fetchedAt, unknown } of sources) {
    if (unknown !== undefined) unknowns.push({ subject: source.repository || 'its source', reason: unknown });
    if (!ahead || ahead.length === 0) continue;
    findings.push({
      kind: 'not_deployed',
      strength: 'strong',
      detail: `${ahead.length === 1 ? 'one commit' : `${ahead.length} commits`} on ${branch} ${ahead.length === 1 ? 'is' : 'are'} not deployed; ${source.sha?.slice(0, 12)} is`,
      commits: ahead.slice(0, 50),
      evidence: [
        {
          kind: 'commit',
          ref: source.sha!,
          detail: `deployed from ${source.repository} ${source.path ?? ''}`.trim(),
        },
        { kind: 'mirror', ref: source.repository, detail: `as of ${fetchedAt ?? 'an unknown time'}` },
      ],
    });
  }
  return { findings, unknowns };
}

/** Where a manifest that names no namespace goes, and whether all go there. */
export interface Destination {
  namespace: string;
  forced: boolean;
  /** Another cluster than the application's own. */
  remote: boolean;
}

/** Where an application deploys to, as its own object says. */
export function destinationOf(engine: Engine, application: JsonObject | undefined): Destination {
  if (engine === 'argocd') {
    const destination = field(application, 'spec', 'destination');
    return {
      namespace: text(field(destination, 'namespace')) ?? '',
      forced: false,
      remote: isRemote(application) ?? false,
    };
  }
  const target = text(field(application, 'spec', 'targetNamespace'));
  return {
    namespace: target ?? '',
    forced: target !== undefined,
    remote: isJsonObject(field(application, 'spec', 'kubeConfig')),
  };
}

/** How the sources of an application are read by its engine, as its own object says now. */
export function readingOf(
  engine: Engine,
  application: JsonObject | undefined,
  index: number,
): SourceReading | undefined {
  if (engine === 'flux') return readingOfFlux(application);
  if (engine !== 'argocd') return undefined;
  const reading = readingOfArgocd(declaredSources(application)[index], application);
  return isSet(field(application, 'spec', 'sourceHydrator'))
    ? { ...reading, settings: ['sourceHydrator'] }
    : reading;
}

/** A manifest with the namespaces in which it may be found. */
export interface WantedManifest {
  key: ManifestKey;
  text: string;
  manifest: JsonObject;
  namespaces: string[];
}

/** The objects that a commit's manifests describe, at their destination. */
export function wantedManifests(
  manifests: readonly JsonObject[],
  destination: Destination,
): WantedManifest[] {
  return manifests.flatMap((manifest) => {
    const key = manifestKey(manifest);
    if (!key) return [];
    const namespaces = destination.forced
      ? ['', destination.namespace]
      : key.namespace !== ''
        ? [key.namespace]
        : ['', destination.namespace];
    return [{ key, text: manifestKeyText(key), manifest, namespaces: [...new Set(namespaces)] }];
  });
}

/** The manifest of an object of the cluster; its kind is known where a body told it. */
export function manifestOf(
  wanted: readonly WantedManifest[],
  object: { apiGroup: string; namespace: string; name: string; kind: string | undefined },
): WantedManifest | undefined {
  const found = wanted.filter(
    ({ key, namespaces }) =>
      key.apiGroup === object.apiGroup &&
      key.name === object.name &&
      (object.kind === undefined || key.kind === object.kind) &&
      namespaces.includes(object.namespace),
  );
  return found.length === 1 ? found[0] : undefined;
}
