import {
  type AuditEvent,
  type Json,
  LEVELS,
  type ObjectReference,
  STAGES,
  type UserInfo,
} from './audit-event.js';
import { parseMicros } from './timestamp.js';

/** Nesting beyond this is refused before parsing. Real objects stay under 50 (CRD schemas). */
export const MAX_DEPTH = 200;

/** Why a record is not an Event: a code for machines, a sentence that says what and where for people. */
export class DecodeError extends Error {
  readonly reason: string;
  constructor(reason: string, detail: string) {
    super(detail);
    this.name = 'DecodeError';
    this.reason = reason;
  }
}

type Loose = Record<string, unknown>;

const isObject = (value: unknown): value is Loose =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const VERSIONS = ['audit.k8s.io/v1', 'audit.k8s.io/v1beta1', 'audit.k8s.io/v1alpha1'] as const;

/**
 * Decodes one item of an EventList, or one line of an audit log, into the one Event shape.
 * `listVersion` is the list's apiVersion: items may lack their own.
 * Lenient where real logs are (empty strings, nulls, missing optional fields), strict about what an answer needs.
 * Source of the shapes: k8s.io/apiserver/pkg/apis/audit/{v1,v1beta1,v1alpha1}/types.go.
 *
 * @throws DecodeError naming the field
 */
export function decodeEvent(value: unknown, listVersion?: string): AuditEvent {
  if (!isObject(value))
    throw new DecodeError('not_an_event', `expected a JSON object, got ${describe(value)}`);
  if (value.kind !== undefined && value.kind !== 'Event') {
    throw new DecodeError('not_an_event', `kind: expected "Event", got ${describe(value.kind)}`);
  }
  const version = value.apiVersion ?? listVersion ?? 'audit.k8s.io/v1';
  const apiVersion = VERSIONS.find((known) => known === version);
  if (!apiVersion) {
    throw new DecodeError(
      'unsupported_version',
      `apiVersion: expected one of ${VERSIONS.join(', ')}, got ${describe(version)}`,
    );
  }
  const metadata = isObject(value.metadata) ? value.metadata : undefined;
  const legacy = value.timestamp ?? metadata?.creationTimestamp;
  const received = time(value, 'requestReceivedTimestamp', legacy);
  const event: AuditEvent = {
    apiVersion,
    level: oneOf(value, 'level', LEVELS),
    auditID: text(value, 'auditID'),
    stage: oneOf(value, 'stage', STAGES),
    requestURI: text(value, 'requestURI'),
    verb: text(value, 'verb').toLowerCase(),
    user: userInfo(value.user, 'user') ?? { username: '' },
    requestReceivedTimestamp: received,
    stageTimestamp: value.stageTimestamp == null ? received : time(value, 'stageTimestamp', legacy),
  };
  const impersonated = userInfo(value.impersonatedUser, 'impersonatedUser');
  if (impersonated) event.impersonatedUser = impersonated;
  const sourceIPs = strings(value.sourceIPs, 'sourceIPs');
  if (sourceIPs) event.sourceIPs = sourceIPs;
  if (typeof value.userAgent === 'string' && value.userAgent !== '') event.userAgent = value.userAgent;
  const ref = objectReference(value.objectRef);
  if (ref) event.objectRef = ref;
  responseStatus(event, value.responseStatus);
  // AKS writes a string such as "skipped-too-big-size-object" where a body was.
  if (value.requestObject != null) event.requestObject = value.requestObject as Json;
  if (value.responseObject != null) event.responseObject = value.responseObject as Json;
  const annotations = stringMap(value.annotations, 'annotations');
  if (annotations) event.annotations = annotations;
  const authentication = value.authenticationMetadata;
  if (isObject(authentication) && typeof authentication.impersonationConstraint === 'string') {
    event.authenticationMetadata = { impersonationConstraint: authentication.impersonationConstraint };
  }
  return event;
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  if (typeof value === 'string') return value.length > 60 ? 'a long string' : 'a different string';
  return `a ${typeof value}`;
}

function text(event: Loose, field: string): string {
  const value = event[field];
  if (typeof value !== 'string' || value === '') {
    throw new DecodeError(
      'missing_field',
      `${field}: expected a non-empty string, got ${value === '' ? 'an empty one' : describe(value)}`,
    );
  }
  return value;
}

function oneOf<T extends string>(event: Loose, field: string, allowed: readonly T[]): T {
  const found = allowed.find((known) => known === event[field]);
  if (!found) {
    throw new DecodeError(
      'invalid_field',
      `${field}: expected one of ${allowed.join(', ')}, got ${describe(event[field])}`,
    );
  }
  return found;
}

function time(event: Loose, field: string, legacy: unknown): number {
  const value = event[field] ?? legacy;
  const micros = parseMicros(value);
  if (micros === undefined || micros < 0) {
    throw new DecodeError('invalid_time', `${field}: expected an RFC 3339 time, got ${describe(value)}`);
  }
  return micros;
}

function userInfo(value: unknown, field: string): UserInfo | undefined {
  if (value == null) return undefined;
  if (!isObject(value))
    throw new DecodeError('invalid_field', `${field}: expected an object, got ${describe(value)}`);
  const user: UserInfo = { username: typeof value.username === 'string' ? value.username : '' };
  if (typeof value.uid === 'string' && value.uid !== '') user.uid = value.uid;
  const groups = strings(value.groups, `${field}.groups`);
  if (groups) user.groups = groups;
  if (isObject(value.extra)) {
    const extra: Record<string, string[]> = Object.create(null);
    for (const [key, item] of Object.entries(value.extra)) {
      extra[key] = strings(typeof item === 'string' ? [item] : item, `${field}.extra`) ?? [];
    }
    if (Object.keys(extra).length > 0) user.extra = extra;
  }
  return user;
}

function strings(value: unknown, field: string): string[] | undefined {
  if (value == null) return undefined;
  if (!Array.isArray(value))
    throw new DecodeError('invalid_field', `${field}: expected an array, got ${describe(value)}`);
  for (const item of value) {
    if (typeof item !== 'string')
      throw new DecodeError('invalid_field', `${field}: expected strings, got ${describe(item)}`);
  }
  return value.length === 0 ? undefined : (value as string[]);
}

function stringMap(value: unknown, field: string): Record<string, string> | undefined {
  if (value == null) return undefined;
  if (!isObject(value))
    throw new DecodeError('invalid_field', `${field}: expected an object, got ${describe(value)}`);
  const map: Record<string, string> = Object.create(null);
  for (const [key, item] of Object.entries(value))
    map[key] = typeof item === 'string' ? item : JSON.stringify(item);
  return Object.keys(map).length === 0 ? undefined : map;
}

function objectReference(value: unknown): ObjectReference | undefined {
  if (value == null) return undefined;
  if (!isObject(value))
    throw new DecodeError('invalid_field', `objectRef: expected an object, got ${describe(value)}`);
  const ref: ObjectReference = {};
  for (const field of [
    'resource',
    'namespace',
    'name',
    'uid',
    'apiGroup',
    'apiVersion',
    'resourceVersion',
    'subresource',
  ] as const) {
    const item = value[field];
    if (typeof item === 'string' && item !== '') ref[field] = item;
  }
  // v1alpha1 wrote the group into apiVersion: "apps/v1", "/v1".
  const slash = ref.apiVersion?.lastIndexOf('/') ?? -1;
  if (ref.apiVersion && slash >= 0) {
    const group = ref.apiVersion.slice(0, slash);
    if (group !== '' && ref.apiGroup === undefined) ref.apiGroup = group;
    ref.apiVersion = ref.apiVersion.slice(slash + 1);
  }
  return Object.keys(ref).length === 0 ? undefined : ref;
}

function responseStatus(event: AuditEvent, value: unknown): void {
  if (!isObject(value)) return;
  const status: NonNullable<AuditEvent['responseStatus']> = {};
  if (typeof value.code === 'number' && Number.isInteger(value.code) && value.code > 0 && value.code < 1000)
    status.code = value.code;
  if (typeof value.status === 'string' && value.status !== '') status.status = value.status;
  if (typeof value.reason === 'string' && value.reason !== '') status.reason = value.reason;
  if (typeof value.message === 'string' && value.message !== '') status.message = value.message;
  if (isObject(value.details)) status.details = value.details as Json;
  if (Object.keys(status).length > 0) event.responseStatus = status;
}
