import type { AuditEvent, JsonObject } from '../audit-event.js';
import { accessKind, classifyEvent, isJsonObject } from '../classify.js';
import { diffObjects } from '../diff/diff.js';
import type { Subject } from '../links/link.js';
import { COMMIT_ANNOTATION, manifestDigest } from '../links/signed-annotation.js';
import type { KeyedDigest } from '../redact/keyed-digest.js';
import { redactEvent } from '../redact/redact-event.js';
import type { RedactionRules } from '../redact/rules.js';
import type { ChangeClass, ChangeKind, EventClass } from '../vocabulary.js';
import type { AdmissionRequest } from './admission-review.js';

const VERBS = { CREATE: 'create', UPDATE: 'update', DELETE: 'delete', CONNECT: 'connect' } as const;
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
/** Marks of these are looked at; a GitOps tracking id or a commit may be in none but annotations and labels. */
const MARKED = ['annotations', 'labels'] as const;

export interface AdmissionSubject {
  /** As its audit event would be classed, had it been carried out. */
  class: EventClass;
  subject: Subject;
}

/**
 * What is asked to be admitted, as links and verdicts look at a change: redacted, and without the object, of which only
 * labels, annotations and the paths of changed fields are taken.
 * @param at microseconds
 */
export function admissionSubject(
  request: AdmissionRequest,
  cluster: string,
  at: number,
  redaction: { rules: RedactionRules; digest: KeyedDigest },
): AdmissionSubject {
  const shown = request.operation === 'DELETE' ? request.oldObject : request.object;
  const event = redactEvent(eventOf(request, at, marksOf(shown)), redaction.rules, redaction.digest);
  const eventClass = request.dryRun ? 'dry_run' : classifyEvent(event);
  const metadata = (event.requestObject as JsonObject | undefined)?.metadata as JsonObject | undefined;
  const annotations = textsOf(metadata?.annotations);
  const paths =
    request.operation === 'UPDATE' && request.object && request.oldObject
      ? changedPaths(request.oldObject, request.object)
      : undefined;
  const ref = event.objectRef!;
  return {
    class: eventClass,
    subject: {
      changeID: '',
      cluster,
      at,
      class: eventClass as ChangeClass,
      kind: kindOf(event, request, paths),
      outcome: 'succeeded',
      verb: event.verb,
      subresource: ref.subresource,
      key: {
        apiGroup: ref.apiGroup ?? '',
        resource: ref.resource!,
        namespace: ref.namespace ?? '',
        name: ref.name ?? '',
      },
      objectKind: request.kind,
      user: event.user,
      // The apiserver tells admission who is impersonated, and not by whom.
      impersonatedUser: undefined,
      userAgent: undefined,
      flags: [],
      labels: Object.entries(textsOf(metadata?.labels)).map(([key, value]) => `${key}=${value}`),
      annotations,
      paths,
      manifestDigest: annotations[COMMIT_ANNOTATION] === undefined ? undefined : appliedManifest(shown),
    },
  };
}

function eventOf(request: AdmissionRequest, at: number, marks: JsonObject): AuditEvent {
  const { resource, subresource, namespace, name } = request;
  return {
    apiVersion: 'audit.k8s.io/v1',
    level: 'Metadata',
    auditID: '',
    stage: 'ResponseComplete',
    requestURI: '',
    verb: VERBS[request.operation],
    user: request.user,
    objectRef: {
      resource: resource.resource,
      ...(resource.group && { apiGroup: resource.group }),
      ...(resource.version && { apiVersion: resource.version }),
      ...(namespace && { namespace }),
      ...(name && { name }),
      ...(subresource !== undefined && { subresource }),
    },
    responseStatus: { code: 200 },
    requestObject: marks,
    requestReceivedTimestamp: at,
    stageTimestamp: at,
  };
}

function marksOf(object: JsonObject | undefined): JsonObject {
  const metadata = isJsonObject(object?.metadata) ? object.metadata : {};
  const marks: JsonObject = {};
  for (const key of MARKED) {
    const own = metadata[key];
    if (!isJsonObject(own)) continue;
    const { [LAST_APPLIED]: _, ...rest } = own;
    marks[key] = rest;
  }
  return { metadata: marks };
}

function textsOf(value: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries((value ?? {}) as Record<string, unknown>).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    ),
  );
}

function changedPaths(before: JsonObject, after: JsonObject): string[] {
  return diffObjects(withoutBookkeeping(before), withoutBookkeeping(after)).map(({ path }) => path);
}

/** What an apiserver itself changes in each update. */
function withoutBookkeeping(object: JsonObject): JsonObject {
  if (!isJsonObject(object.metadata)) return object;
  const { managedFields: _m, resourceVersion: _r, generation: _g, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function kindOf(
  event: AuditEvent,
  request: AdmissionRequest,
  paths: readonly string[] | undefined,
): ChangeKind {
  const access = accessKind(event);
  if (access) return access;
  if (request.subresource === 'scale') return 'scale';
  if (request.subresource === 'eviction') return 'eviction';
  if (request.subresource === 'binding') return 'binding';
  if (request.operation === 'CREATE') return 'create';
  if (request.operation === 'DELETE') return 'delete';
  return paths && paths.length > 0 && paths.every((path) => path === 'spec.replicas') ? 'scale' : 'update';
}

/** Admission sees an object with its defaults; what was sent whole is only in kubectl's own annotation. */
function appliedManifest(object: JsonObject | undefined): string | undefined {
  const metadata = isJsonObject(object?.metadata) ? object.metadata : {};
  const applied = isJsonObject(metadata.annotations) && metadata.annotations[LAST_APPLIED];
  if (typeof applied !== 'string') return undefined;
  try {
    const manifest: unknown = JSON.parse(applied);
    return isJsonObject(manifest as never) ? manifestDigest(manifest as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}
