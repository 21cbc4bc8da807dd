import type { Change } from '../core/change.js';
import { parseUserAgent } from '../core/user-agent.js';
import type { CopyRows } from './copy.js';
import type { Dictionaries } from './dictionaries.js';

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
  'context_id',
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

/** Where a change comes from, beside what the projection says. */
export interface ChangeOrigin {
  clusterID: number;
  seq: number;
  sourceID: number;
  eventDigest: Uint8Array;
  auditID: string;
  /** Of its event, whose row takes its entry in. */
  contextID: bigint;
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
  rows.int8(origin.contextID);
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
