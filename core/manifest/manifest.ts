import type { Json, JsonObject } from '../audit-event.js';
import { canonicalJson, sha256 } from '../canonical.js';

/** Which object a manifest describes. Its resource is not known: that takes a cluster. */
export interface ManifestKey {
  /** '' for the core group */
  apiGroup: string;
  kind: string;
  /** '' where the manifest names none */
  namespace: string;
  name: string;
}

export interface Manifest extends ManifestKey {
  apiVersion: string;
  /** The file it was read from, where the renderer tells. */
  file?: string;
  /** Redacted: secret values stand in it as keyed digests. */
  object: JsonObject;
}

/**
 * What tools put on an object to know it again as theirs, or to wait for it: not part of what was approved. Argo CD's
 * and Flux's documentation, helm pkg/action/validate.go, kubectl pkg/util/apply.go.
 */
const TOOL_ANNOTATIONS = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'argocd.argoproj.io/tracking-id',
  'argocd.argoproj.io/installation-id',
  'meta.helm.sh/release-name',
  'meta.helm.sh/release-namespace',
]);
const TOOL_LABELS = new Set([
  'kustomize.toolkit.fluxcd.io/name',
  'kustomize.toolkit.fluxcd.io/namespace',
  'helm.toolkit.fluxcd.io/name',
  'helm.toolkit.fluxcd.io/namespace',
]);

/** Whether a label or annotation is one by which a deploying tool knows its objects. */
export function isToolMetadata(map: 'labels' | 'annotations', key: string): boolean {
  return (map === 'labels' ? TOOL_LABELS : TOOL_ANNOTATIONS).has(key);
}

/** Fields that the API server writes, or that describe what is rather than what should be. */
const SERVER_METADATA = new Set([
  'uid',
  'resourceVersion',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'generation',
  'managedFields',
  'selfLink',
]);

export function isServerMetadata(key: string): boolean {
  return SERVER_METADATA.has(key);
}

/** Reads the key of an object; undefined where it is none: without apiVersion, kind or name. */
export function manifestKey(object: JsonObject): (ManifestKey & { apiVersion: string }) | undefined {
  const { apiVersion, kind, metadata } = object;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string' || !isMap(metadata)) return undefined;
  const { name, namespace } = metadata;
  if (typeof name !== 'string' || name === '') return undefined;
  const slash = apiVersion.indexOf('/');
  return {
    apiVersion,
    apiGroup: slash < 0 ? '' : apiVersion.slice(0, slash),
    kind,
    namespace: typeof namespace === 'string' ? namespace : '',
    name,
  };
}

/** Its key as one text, for maps: `apps/Deployment shop/web`. */
export function manifestKeyText({ apiGroup, kind, namespace, name }: ManifestKey): string {
  return `${apiGroup === '' ? '' : `${apiGroup}/`}${kind} ${namespace === '' ? '' : `${namespace}/`}${name}`;
}

/**
 * An object without what is not part of its content: what the server writes, status, and the marks of deploying tools;
 * a Secret's stringData stands in data, as the server stores it. The input is not changed.
 */
export function normalizeManifest(object: JsonObject): JsonObject {
  const { status: _status, ...rest } = object;
  const out: JsonObject = { ...rest };
  if (isMap(object.metadata)) {
    const metadata: JsonObject = {};
    for (const [key, value] of Object.entries(object.metadata)) {
      if (isServerMetadata(key)) continue;
      if ((key === 'labels' || key === 'annotations') && isMap(value)) {
        const kept = Object.entries(value).filter(([name]) => !isToolMetadata(key, name));
        if (kept.length > 0) metadata[key] = Object.fromEntries(kept);
      } else metadata[key] = value;
    }
    out.metadata = metadata;
  }
  if (out.kind === 'Secret' && out.apiVersion === 'v1' && isMap(out.stringData)) {
    // Redaction digests data decoded: equal values have equal digests in both.
    out.data = { ...(isMap(out.data) ? out.data : {}), ...out.stringData };
    delete out.stringData;
  }
  return out;
}

/** Identifies a manifest's content: SHA-256 of the canonical text of its normal form. Of a redacted object only. */
export function manifestDigest(object: JsonObject): Buffer {
  return sha256(canonicalJson(normalizeManifest(object)));
}

/**
 * The objects of a parsed document: one, the items of a List, or none where it is empty.
 * @throws TypeError saying what it is instead
 */
export function objectsOf(document: Json): JsonObject[] {
  if (document === null || document === undefined) return [];
  if (!isMap(document)) throw new TypeError('a document is no map');
  if (typeof document.kind === 'string' && document.kind.endsWith('List') && Array.isArray(document.items))
    return document.items.flatMap(objectsOf);
  if (manifestKey(document) === undefined)
    throw new TypeError('a document has no apiVersion, kind and metadata.name');
  return [document];
}

function isMap(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
