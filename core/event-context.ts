import type {
  AuditEvent,
  AuthenticationMetadata,
  Level,
  ObjectReference,
  ResponseStatus,
} from './audit-event.js';
import { canonicalJson } from './canonical.js';

export const DECISION = 'authorization.k8s.io/decision';
export const REASON = 'authorization.k8s.io/reason';

/** What of an event repeats in many others: kept once, referred to by all (migrations/047-event-contexts.sql). */
export interface EventContext {
  apiVersion: AuditEvent['apiVersion'];
  level: Level;
  verb: string;
  code: number | undefined;
  /** responseStatus without its code, where it has neither message nor details. */
  status: ResponseStatus | undefined;
  userAgent: string | undefined;
  decision: string | undefined;
  reason: string | undefined;
  sourceIPs: string[] | undefined;
  refApiVersion: string | undefined;
  /** requestURI begins with the path of the objectRef, with its name or without. */
  path: 'object' | 'collection' | undefined;
  /** What of requestURI doesn't follow from the objectRef, where it is likely to repeat. */
  uriRest: string | undefined;
  annotations: Record<string, string> | undefined;
  authenticationMetadata: AuthenticationMetadata | undefined;
}

/** What of an event is its own, besides its ids, times and bodies. */
export interface OwnParts {
  context: EventContext;
  /** What of requestURI doesn't follow from the objectRef, where the context has none. */
  uriRest: string | undefined;
  status: ResponseStatus | undefined;
  annotations: Record<string, string> | undefined;
}

/** Query parameters that are another one nearly each time: a watch's place, a page's, a log's. */
const VARYING = /[?&](?:resourceVersion|continue|timeoutSeconds|sinceTime|sinceSeconds)=[^0&]/;
const MAX_SHARED = 200;
/** Annotations that say the same of many requests. Others tell of one: patches, violations, latencies, decisions. */
const OF_MANY =
  /^(?:k8s\.io\/|mutation\.webhook\.|failed-open\.|podsecuritypolicy\.|pod-security\.kubernetes\.io\/(?:enforce-policy|exempt)$)/;

/** Takes an event apart into what it shares and what is its own. The view `events` puts both together again. */
export function takeApart(event: AuditEvent): OwnParts {
  const { requestURI, objectRef: ref, responseStatus } = event;
  const path = ref && pathOf(requestURI, ref);
  const rest = path === undefined ? requestURI : requestURI.slice(path.length);
  // A path that is not its object's names something of its own, as those of proxies do.
  const varies = (ref !== undefined && path === undefined) || rest.length > MAX_SHARED || VARYING.test(rest);
  const isOwnStatus = responseStatus?.message !== undefined || responseStatus?.details !== undefined;
  const status = responseStatus && withoutCode(responseStatus);
  const { shared, own } = splitAnnotations(event.annotations);
  return {
    context: {
      apiVersion: event.apiVersion,
      level: event.level,
      verb: event.verb,
      code: responseStatus?.code,
      status: isOwnStatus ? undefined : status,
      userAgent: event.userAgent,
      decision: event.annotations?.[DECISION],
      reason: event.annotations?.[REASON],
      sourceIPs: event.sourceIPs,
      refApiVersion: ref?.apiVersion,
      path: path?.form,
      uriRest: varies || rest === '' ? undefined : rest,
      annotations: shared,
      authenticationMetadata: event.authenticationMetadata,
    },
    uriRest: varies ? rest : undefined,
    status: isOwnStatus ? status : undefined,
    annotations: own,
  };
}

/** Equal for equal contexts: what their id is made of. */
export function contextText(context: EventContext): string {
  return canonicalJson(context);
}

/**
 * The path that an objectRef has, where requestURI begins with it.
 * Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go, the other way round; SQL: `resource_path`.
 */
function pathOf(
  requestURI: string,
  ref: ObjectReference,
): { form: 'object' | 'collection'; length: number } | undefined {
  const { apiGroup, apiVersion, namespace, resource, name, subresource } = ref;
  if (!resource || !apiVersion) return undefined;
  let path = apiGroup ? `/apis/${apiGroup}/${apiVersion}` : `/api/${apiVersion}`;
  if (namespace && resource !== 'namespaces') path += `/namespaces/${namespace}`;
  path += `/${resource}`;
  if (!requestURI.startsWith(path)) return undefined;
  const below = subresource ? `/${subresource}` : '';
  const whole = name ? `${path}/${name}${below}` : `${path}${below}`;
  if (isPath(requestURI, whole)) return { form: 'object', length: whole.length };
  // A create is posted to the collection, and named by its body.
  const collection = `${path}${below}`;
  return isPath(requestURI, collection) ? { form: 'collection', length: collection.length } : undefined;
}

function isPath(requestURI: string, path: string): boolean {
  if (!requestURI.startsWith(path)) return false;
  return requestURI.length === path.length || requestURI[path.length] === '?';
}

function withoutCode({ code: _code, ...rest }: ResponseStatus): ResponseStatus | undefined {
  return Object.keys(rest).length === 0 ? undefined : rest;
}

function splitAnnotations(annotations: Record<string, string> | undefined) {
  let shared: Record<string, string> | undefined;
  let own: Record<string, string> | undefined;
  for (const key in annotations) {
    if (key === DECISION || key === REASON) continue;
    if (OF_MANY.test(key)) {
      shared ??= {};
      shared[key] = annotations[key]!;
    } else {
      own ??= {};
      own[key] = annotations[key]!;
    }
  }
  return { shared, own };
}
