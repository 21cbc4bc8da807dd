import type { JsonObject, UserInfo } from '../audit-event.js';
import { isJsonObject } from '../classify.js';
import { WhochangedError } from '../errors.js';

/** The operations that admission is asked about (k8s.io/api/admission/v1 types.go). */
const OPERATIONS = ['CREATE', 'UPDATE', 'DELETE', 'CONNECT'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** What an AdmissionReview asks, as far as we look at it. */
export interface AdmissionRequest {
  /** Names the question, and is in no audit event. */
  uid: string;
  /** As the client addressed it, before a conversion to what the webhook is registered for. */
  resource: { group: string; version: string; resource: string };
  subresource: string | undefined;
  kind: string | undefined;
  /** '' where the apiserver makes it up (generateName). */
  name: string;
  namespace: string;
  operation: Operation;
  user: UserInfo;
  object: JsonObject | undefined;
  oldObject: JsonObject | undefined;
  dryRun: boolean;
}

/**
 * Reads an AdmissionReview of admission.k8s.io/v1.
 * @throws WhochangedError `invalid_request` naming the field; no value of an object is repeated
 */
export function readAdmissionReview(body: unknown): AdmissionRequest {
  const review = body as JsonObject;
  if (!isJsonObject(review) || review.kind !== 'AdmissionReview') throw wrong('it is no AdmissionReview');
  if (review.apiVersion !== 'admission.k8s.io/v1')
    throw wrong(`apiVersion must be admission.k8s.io/v1`, 'set admissionReviewVersions: [v1]');
  const { request } = review;
  if (!isJsonObject(request)) throw wrong('it has no request');
  const uid = textOf(request.uid);
  if (!uid) throw wrong('request.uid is missing');
  const operation = OPERATIONS.find((known) => known === request.operation);
  if (!operation) throw wrong(`request.operation must be one of ${OPERATIONS.join(', ')}`);
  const resource = isJsonObject(request.requestResource) ? request.requestResource : request.resource;
  if (!isJsonObject(resource) || !textOf(resource.resource))
    throw wrong('request.resource.resource is missing');
  const kind = isJsonObject(request.requestKind) ? request.requestKind : request.kind;
  const user = isJsonObject(request.userInfo) ? request.userInfo : {};
  const groups = Array.isArray(user.groups) ? user.groups.filter((one) => typeof one === 'string') : [];
  return {
    uid,
    resource: {
      group: textOf(resource.group) ?? '',
      version: textOf(resource.version) ?? '',
      resource: textOf(resource.resource)!,
    },
    subresource: textOf(request.requestSubResource) ?? textOf(request.subResource),
    kind: isJsonObject(kind) ? textOf(kind.kind) : undefined,
    name: textOf(request.name) ?? '',
    namespace: textOf(request.namespace) ?? '',
    operation,
    user: {
      username: textOf(user.username) ?? '',
      ...(textOf(user.uid) && { uid: textOf(user.uid)! }),
      ...(groups.length > 0 && { groups }),
      ...(isJsonObject(user.extra) && { extra: extraOf(user.extra) }),
    },
    object: isJsonObject(request.object) ? request.object : undefined,
    oldObject: isJsonObject(request.oldObject) ? request.oldObject : undefined,
    dryRun: request.dryRun === true,
  };
}

function extraOf(extra: JsonObject): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(extra).map(([key, values]) => [
      key,
      Array.isArray(values) ? values.filter((value) => typeof value === 'string') : [],
    ]),
  );
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function wrong(what: string, hint?: string): WhochangedError {
  return new WhochangedError('invalid_request', `the body: ${what}`, {
    hint: hint ?? 'this is for ValidatingAdmissionWebhook; see `whochanged gate manifest`',
  });
}
