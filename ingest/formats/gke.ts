import type { ObjectReference } from '../../core/audit-event.js';
import { refOfPath } from '../../core/request-path.js';
import { readTextLine } from './audit-log.js';
import {
  event,
  type FormatDefinition,
  isObject,
  type Loose,
  type ParsedRecord,
  problem,
  skipped,
  stringOf,
} from './format-reader.js';
import { pathOfMethod, pathOfResourceName } from './gke-names.js';
import type { Item } from './item.js';
import { INFERRED } from './salvage.js';

/** google.rpc.Code to the HTTP status that google/rpc/code.proto maps it to. */
const HTTP_STATUS = [
  200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
] as const;

const LOG_NAME = /^(?:projects|folders|organizations|billingAccounts)\/[^/]+\/logs\//;

/**
 * GKE's audit logs as a Cloud Logging sink exports them: a LogEntry a line (google/logging/v2/log_entry.proto), or the list
 * that `gcloud logging read --format=json` prints. `protoPayload` is an AuditLog (google/cloud/audit/audit_log.proto) of
 * service k8s.io, of the logs activity and data_access. It is no Event, and is mapped to one: docs/formats.md says what
 * it lacks, and the annotation `whochanged/inferred` which fields are not the apiserver's own.
 */
export const gke: FormatDefinition = {
  claims: ({ value }) =>
    isObject(value) && (isObject(value.protoPayload) || LOG_NAME.test(stringOf(value.logName) ?? '')),
  open: () => ({
    *read(record) {
      yield record.type === 'text' ? readTextLine(record) : readEntry(record);
    },
  }),
};

function readEntry(record: ParsedRecord): Item {
  const { value } = record;
  if (!isObject(value)) return problem('not_an_object', record);
  if (!isObject(value.protoPayload))
    return LOG_NAME.test(stringOf(value.logName) ?? '')
      ? skipped('other_log', record)
      : problem('not_an_audit_event', record);
  return value.protoPayload.serviceName === 'k8s.io'
    ? event(eventOfEntry(value, value.protoPayload), record)
    : skipped('other_service', record);
}

function eventOfEntry(entry: Loose, payload: Loose): Loose {
  const operation = isObject(entry.operation) ? entry.operation : {};
  const authentication = isObject(payload.authenticationInfo) ? payload.authenticationInfo : {};
  const request = isObject(payload.requestMetadata) ? payload.requestMetadata : {};
  const method = stringOf(payload.methodName) ?? '';
  const verb = method.slice(method.lastIndexOf('.') + 1);
  const path = pathOfResourceName(stringOf(payload.resourceName)) ?? pathOfMethod(method);
  const ref = path === undefined ? undefined : refOfPath(path);
  const requestBody = withoutType(payload.request);
  const responseBody = withoutType(payload.response);
  const impersonated = stringOf(authentication.authoritySelector);
  const creates = verb === 'create' && ref?.subresource === undefined;
  const status = statusOf(payload, creates, responseBody);
  return {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level:
      responseBody !== undefined ? 'RequestResponse' : requestBody !== undefined ? 'Request' : 'Metadata',
    auditID: stringOf(operation.id) ?? entry.insertId,
    stage: operation.first === true && operation.last !== true ? 'ResponseStarted' : 'ResponseComplete',
    requestURI: path === undefined ? stringOf(payload.resourceName) : requestPath(path, ref, creates),
    verb,
    user: {
      username: stringOf(authentication.principalEmail) ?? stringOf(authentication.principalSubject) ?? '',
    },
    ...(impersonated && { impersonatedUser: { username: impersonated } }),
    ...(stringOf(request.callerIp) && { sourceIPs: [request.callerIp] }),
    userAgent: request.callerSuppliedUserAgent,
    objectRef: ref,
    responseStatus: status,
    requestObject: requestBody,
    responseObject: responseBody,
    requestReceivedTimestamp: entry.timestamp,
    stageTimestamp: entry.timestamp,
    annotations: annotationsOf(entry, authentication),
  };
}

/** A create's resourceName ends in the name of what was created, which its path doesn't. */
function requestPath(path: string, ref: ObjectReference | undefined, creates: boolean): string {
  return creates && ref?.name !== undefined ? path.slice(0, path.lastIndexOf('/')) : path;
}

/** The object that was written, without the mark of its protobuf wrapping. */
function withoutType(body: unknown): unknown {
  if (!isObject(body)) return body ?? undefined;
  const { '@type': _type, ...object } = body;
  return object;
}

function statusOf(payload: Loose, creates: boolean, response: unknown): Loose | undefined {
  const status = isObject(payload.status) ? payload.status : undefined;
  // A Status in the response is the apiserver's own word.
  const answered = isObject(response) && response.kind === 'Status' ? response.code : undefined;
  const message = stringOf(status?.message);
  const code =
    typeof answered === 'number' ? answered : httpStatus(status, payload.authorizationInfo, creates);
  if (code === undefined) return undefined;
  return { code, ...(message && { message }) };
}

/** Undefined where the entry says nothing of its outcome. */
function httpStatus(status: Loose | undefined, authorization: unknown, creates: boolean): number | undefined {
  const denied =
    Array.isArray(authorization) && authorization.some((check) => isObject(check) && check.granted === false);
  if (status === undefined) return denied ? 403 : undefined;
  const code = status.code ?? 0;
  if (code === 0) return denied ? 403 : creates ? 201 : 200;
  if (typeof code !== 'number') return undefined;
  return HTTP_STATUS[code] ?? (code >= 100 && code < 600 ? code : 500);
}

/** The Event's annotations, which stand among the labels; who acted through a service account; and our own. */
function annotationsOf(entry: Loose, authentication: Loose): Loose {
  const delegates = Array.isArray(authentication.serviceAccountDelegationInfo)
    ? authentication.serviceAccountDelegationInfo.map((info) => {
        const first = isObject(info) && isObject(info.firstPartyPrincipal) ? info.firstPartyPrincipal : {};
        return (
          stringOf(first.principalEmail) ?? (isObject(info) ? stringOf(info.principalSubject) : undefined)
        );
      })
    : [];
  const known = delegates.filter((delegate) => delegate !== undefined);
  return {
    ...(isObject(entry.labels) ? entry.labels : {}),
    ...(known.length > 0 && { 'whochanged/delegated-by': known.join(',') }),
    [INFERRED]: 'level,requestURI,requestReceivedTimestamp,responseStatus.code,stage',
  };
}
