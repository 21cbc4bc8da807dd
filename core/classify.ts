import { builtInController, serviceAccountOf } from './actors.js';
import type { AuditEvent, Json, JsonObject } from './audit-event.js';
import type { ChangeClass, ChangeKind, EventClass } from './vocabulary.js';

const READ_VERBS = new Set(['get', 'list', 'watch', 'head', 'options', 'propfind']);
const WRITE_VERBS = new Set(['create', 'update', 'patch', 'delete', 'deletecollection']);
const REVIEW_GROUPS = new Set([
  'authorization.k8s.io',
  'authentication.k8s.io',
  'authorization.openshift.io',
]);

/** Subresources that give interactive access. Since 1.30 kubectl's exec is audited as verb `get`, so the verb says nothing. */
const ACCESS_KINDS: Record<string, ChangeKind> = {
  exec: 'exec',
  attach: 'attach',
  portforward: 'port_forward',
  proxy: 'proxy',
  ephemeralcontainers: 'debug',
};

export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The interactive access that an event asks for, whether or not it was given. */
export function accessKind(event: AuditEvent): ChangeKind | undefined {
  const { resource, subresource } = event.objectRef ?? {};
  if (!subresource || (resource !== 'pods' && resource !== 'services' && resource !== 'nodes'))
    return undefined;
  if (subresource === 'ephemeralcontainers' && READ_VERBS.has(event.verb)) return undefined;
  return ACCESS_KINDS[subresource];
}

/**
 * What an event is, as far as it tells by itself. A write of class `change` or `derived` may still turn out to be
 * `no_op` or `status` once it is compared with the version before it (core/project.ts).
 */
export function classifyEvent(event: AuditEvent): EventClass {
  if (event.stage === 'RequestReceived') return 'stage';
  const code = event.responseStatus?.code ?? 0;
  // A failed login never reaches ResponseComplete (k8s.io/apiserver/pkg/endpoints/filters/authn_audit.go).
  if (code === 401) return 'failed_auth';
  const access = accessKind(event);
  if (access) return code >= 400 ? 'rejected' : 'access';
  const ref = event.objectRef;
  if (!ref?.resource) return event.stage === 'ResponseStarted' && event.verb !== 'watch' ? 'stage' : 'read';
  if (isReview(event)) return event.stage === 'ResponseStarted' ? 'stage' : 'review';
  if (!isWriteVerb(event.verb)) {
    if (event.stage === 'ResponseStarted' && event.verb !== 'watch') return 'stage';
    return ref.resource === 'secrets' && !ref.apiGroup && code < 400 ? 'secret_read' : 'read';
  }
  if (event.stage === 'ResponseStarted' && code < 400) return 'stage';
  if (code >= 400) return event.stage === 'Panic' ? writeClass(event) : 'rejected';
  if (isDryRun(event)) return 'dry_run';
  return writeClass(event);
}

/** Anything that isn't a known read is treated as a write: a new verb must not hide a change. */
export function isWriteVerb(verb: string): boolean {
  return WRITE_VERBS.has(verb) || !READ_VERBS.has(verb);
}

const KEEPS_NO_OUTCOME = new Set(['leases', 'events']);

/** Whether an event announces a write or an interactive access whose outcome is worth waiting for. */
export function awaitsOutcome(event: AuditEvent): boolean {
  const resource = event.objectRef?.resource;
  if (event.stage !== 'RequestReceived' || !resource || KEEPS_NO_OUTCOME.has(resource)) return false;
  return isWriteVerb(event.verb) || accessKind(event) !== undefined;
}

function isReview(event: AuditEvent): boolean {
  const { resource = '', apiGroup = '' } = event.objectRef ?? {};
  return REVIEW_GROUPS.has(apiGroup) && resource.endsWith('reviews');
}

/** Dry runs are asked for in the query, or in DeleteOptions in the body of a delete or an eviction. */
export function isDryRun(event: AuditEvent): boolean {
  const query = event.requestURI.indexOf('?');
  if (query >= 0 && event.requestURI.includes('dryRun', query)) {
    if (new URLSearchParams(event.requestURI.slice(query + 1)).getAll('dryRun').includes('All')) return true;
  }
  if (!isJsonObject(event.requestObject)) return false;
  const body = event.requestObject;
  const isDelete = event.verb === 'delete' || event.verb === 'deletecollection';
  const options = isDelete
    ? body
    : event.objectRef?.subresource === 'eviction'
      ? body.deleteOptions
      : undefined;
  return isJsonObject(options) && Array.isArray(options.dryRun) && options.dryRun.includes('All');
}

function writeClass(event: AuditEvent): EventClass {
  const { resource = '', apiGroup = '', subresource } = event.objectRef ?? {};
  if (resource === 'leases' && apiGroup === 'coordination.k8s.io') return 'lease';
  if (resource === 'events' && (apiGroup === '' || apiGroup === 'events.k8s.io')) return 'kube_event';
  if ((resource === 'configmaps' || resource === 'endpoints') && isLeaderRecord(event)) return 'lease';
  return writerClass(event.user.username, event.impersonatedUser !== undefined, subresource);
}

/** The class of a write by who made it, before its fields are known. Someone who impersonates a controller is a person. */
export function writerClass(
  username: string,
  impersonates: boolean,
  subresource: string | undefined,
): ChangeClass {
  const controller = impersonates ? undefined : builtInController(username);
  if (subresource === 'status' && (controller || serviceAccountOf(username))) return 'status';
  return controller ? 'derived' : 'change';
}

/** Leader election before leases: an annotation on a ConfigMap or Endpoints (client-go leaderelection/resourcelock). */
function isLeaderRecord(event: AuditEvent): boolean {
  for (const body of [event.responseObject, event.requestObject]) {
    if (!isJsonObject(body) || !isJsonObject(body.metadata)) continue;
    const annotations = body.metadata.annotations;
    if (isJsonObject(annotations) && 'control-plane.alpha.kubernetes.io/leader' in annotations) return true;
  }
  return false;
}
