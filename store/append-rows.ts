import type { AcceptedEvent } from '../core/accept.js';
import type { UserInfo } from '../core/audit-event.js';
import { canonicalJson } from '../core/canonical.js';
import type { Change } from '../core/change.js';
import { dictionaryID, objectID, objectKey } from '../core/identity.js';
import { parseUserAgent } from '../core/user-agent.js';
import type { EventClass } from '../core/vocabulary.js';
import type { CopyRows } from './copy.js';

export const EVENT_COLUMNS = [
  'cluster_id',
  'at',
  'digest',
  'source_id',
  'seq',
  'request_id',
  'audit_id',
  'api_version',
  'stage',
  'level',
  'class',
  'stage_at',
  'verb',
  'request_uri',
  'object_id',
  'object_ref',
  'user_id',
  'impersonated_user_id',
  'user_agent_id',
  'source_ips',
  'code',
  'status',
  'authorization_id',
  'annotations',
  'authentication_metadata',
  'request_digest',
  'response_digest',
] as const;

export const CHANGE_COLUMNS = [
  'cluster_id',
  'at',
  'change_id',
  'seq',
  'completed_at',
  'source_id',
  'event_digest',
  'audit_id',
  'class',
  'kind',
  'outcome',
  'verb',
  'patch_type',
  'object_id',
  'api_group',
  'api_version',
  'resource',
  'subresource',
  'namespace',
  'name',
  'uid',
  'user_id',
  'impersonated_user_id',
  'user_agent_id',
  'tool',
  'request_uri',
  'code',
  'level',
  'resource_version',
  'generation',
  'order_rv',
  'deleted',
  'request_digest',
  'response_digest',
  'before_digest',
  'before_certainty',
  'after_digest',
  'after_certainty',
  'inferred',
  'diff',
  'field_terms',
  'labels',
  'summary',
  'flags',
] as const;

/** Diffs of more JSON than this are computed from the two versions when asked for. */
const MAX_STORED_DIFF = 16 * 1024;

const DECISION = 'authorization.k8s.io/decision';
const REASON = 'authorization.k8s.io/reason';

export interface UserRow {
  id: bigint;
  user: UserInfo;
}
export interface UserAgentRow {
  id: bigint;
  userAgent: string;
  tool: string;
  version: string | undefined;
}
export interface ObjectRow {
  id: string;
  apiGroup: string;
  resource: string;
  namespace: string;
  name: string;
}
export interface AuthorizationRow {
  id: bigint;
  decision: string | undefined;
  reason: string | undefined;
}

/** The dictionary entries that a batch of one cluster's rows refers to. */
export class Dictionaries {
  readonly users = new Map<bigint, UserRow>();
  readonly userAgents = new Map<bigint, UserAgentRow>();
  readonly objects = new Map<string, ObjectRow>();
  readonly authorizations = new Map<bigint, AuthorizationRow>();
  readonly #ids: Map<string, bigint>;

  /** `ids` caches text to id across batches. */
  constructor(ids: Map<string, bigint>) {
    this.#ids = ids;
    if (ids.size > 100_000) ids.clear();
  }

  user(user: UserInfo | undefined): bigint | undefined {
    if (!user) return undefined;
    // Decoding gives equal users equal texts but for the order of `extra`, which Go sorts; the id is of the canonical text.
    const key = `u${JSON.stringify(user)}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = dictionaryID(`u${canonicalJson(user)}`);
      this.#ids.set(key, id);
    }
    if (!this.users.has(id)) this.users.set(id, { id, user });
    return id;
  }

  userAgent(userAgent: string | undefined): bigint | undefined {
    if (userAgent === undefined) return undefined;
    const id = this.#id(`a${userAgent}`);
    if (!this.userAgents.has(id)) {
      const { tool, version } = parseUserAgent(userAgent);
      this.userAgents.set(id, { id, userAgent, tool, version });
    }
    return id;
  }

  object(key: { apiGroup: string; resource: string; namespace: string; name: string }): string {
    const id = objectID(key);
    if (!this.objects.has(id)) this.objects.set(id, { id, ...key });
    return id;
  }

  authorization(annotations: Record<string, string> | undefined): bigint | undefined {
    const decision = annotations?.[DECISION];
    const reason = annotations?.[REASON];
    if (decision === undefined && reason === undefined) return undefined;
    const id = this.#id(`z${decision ?? '\0'}\n${reason ?? '\0'}`);
    if (!this.authorizations.has(id)) this.authorizations.set(id, { id, decision, reason });
    return id;
  }

  #id(text: string): bigint {
    let id = this.#ids.get(text);
    if (id === undefined) {
      id = dictionaryID(text);
      this.#ids.set(text, id);
    }
    return id;
  }
}

/** Writes one `events` row, in the order of EVENT_COLUMNS. */
export function writeEventRow(
  rows: CopyRows,
  clusterID: number,
  sourceID: number,
  seq: number,
  accepted: AcceptedEvent,
  eventClass: EventClass,
  dictionaries: Dictionaries,
): void {
  const { event } = accepted;
  const ref = event.objectRef;
  rows.row(EVENT_COLUMNS.length);
  rows.int4(clusterID);
  rows.time(event.requestReceivedTimestamp);
  rows.bytes(accepted.digest);
  rows.int4(sourceID);
  rows.int8(seq);
  rows.uuid(accepted.requestID);
  rows.text(event.auditID);
  rows.text(event.apiVersion);
  rows.text(event.stage);
  rows.text(event.level);
  rows.text(eventClass);
  rows.time(event.stageTimestamp);
  rows.text(event.verb);
  rows.text(event.requestURI);
  rows.uuid(ref && dictionaries.object(objectKey(ref)));
  rows.jsonb(ref && restOf(ref, ['apiGroup', 'resource', 'namespace', 'name']));
  rows.int8(dictionaries.user(event.user));
  rows.int8(dictionaries.user(event.impersonatedUser));
  rows.int8(dictionaries.userAgent(event.userAgent));
  rows.textArray(event.sourceIPs);
  rows.int2(event.responseStatus?.code);
  rows.jsonb(event.responseStatus && restOf(event.responseStatus, ['code']));
  rows.int8(dictionaries.authorization(event.annotations));
  rows.jsonb(event.annotations && restOf(event.annotations, [DECISION, REASON]));
  rows.jsonb(event.authenticationMetadata);
  rows.bytes(accepted.request?.digest);
  rows.bytes(accepted.response?.digest);
}

/** The members that have no column of their own; undefined when none is left. */
function restOf(object: object, known: readonly string[]): object | undefined {
  let rest: Record<string, unknown> | undefined;
  for (const [key, value] of Object.entries(object)) {
    if (known.includes(key)) continue;
    rest ??= {};
    rest[key] = value;
  }
  return rest;
}

/** Where a change comes from, beside what the projection says. */
export interface ChangeOrigin {
  clusterID: number;
  seq: number;
  sourceID: number;
  eventDigest: Uint8Array;
  auditID: string;
  requestDigest: Uint8Array | undefined;
  responseDigest: Uint8Array | undefined;
  beforeDigest: Uint8Array | undefined;
  afterDigest: Uint8Array | undefined;
}

/** Writes one `changes` row, in the order of CHANGE_COLUMNS. */
export function writeChangeRow(
  rows: CopyRows,
  change: Change,
  origin: ChangeOrigin,
  dictionaries: Dictionaries,
): void {
  const { write, after, before } = change;
  const diffText = change.diff === undefined ? undefined : JSON.stringify(change.diff);
  const storesDiff =
    diffText !== undefined && diffText.length <= MAX_STORED_DIFF && change.class !== 'status';
  rows.row(CHANGE_COLUMNS.length);
  rows.int4(origin.clusterID);
  rows.time(write.at);
  rows.uuid(write.changeID);
  rows.int8(origin.seq);
  rows.time(write.completedAt);
  rows.int4(origin.sourceID);
  rows.bytes(origin.eventDigest);
  rows.text(origin.auditID);
  rows.text(change.class);
  rows.text(change.kind);
  rows.text(write.outcome);
  rows.text(write.verb);
  rows.text(change.patchType);
  rows.uuid(dictionaries.object(write.key));
  rows.text(write.key.apiGroup);
  rows.text(write.apiVersion);
  rows.text(write.key.resource);
  rows.text(write.subresource);
  rows.text(write.key.namespace);
  rows.text(write.key.name);
  rows.text(write.uid ?? after?.uid);
  rows.int8(dictionaries.user(write.user));
  rows.int8(dictionaries.user(write.impersonated));
  rows.int8(dictionaries.userAgent(write.userAgent));
  rows.text(write.userAgent === undefined ? 'unknown' : parseUserAgent(write.userAgent).tool);
  rows.text(write.requestURI);
  rows.int2(write.code);
  rows.text(write.level);
  rows.text(change.resourceVersion);
  rows.int8(after?.generation);
  rows.int8(after?.orderRV ?? 0n);
  rows.bool(after?.deleted ?? false);
  rows.bytes(origin.requestDigest);
  rows.bytes(origin.responseDigest);
  rows.bytes(origin.beforeDigest);
  rows.text(before?.state.certainty);
  rows.bytes(origin.afterDigest);
  rows.text(after?.state.certainty);
  rows.jsonb(after?.state.inferred);
  rows.jsonb(storesDiff ? change.diff : undefined);
  rows.textArray(change.fieldTerms.length > 0 ? change.fieldTerms : undefined);
  rows.textArray(change.labels.length > 0 ? change.labels : undefined);
  rows.text(change.summary);
  rows.textArray(change.flags.length > 0 ? change.flags : undefined);
}
