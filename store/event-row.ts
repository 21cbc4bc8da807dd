import type { AcceptedEvent } from '../core/accept.js';
import type { AuditEvent } from '../core/audit-event.js';
import { objectKey } from '../core/identity.js';
import type { EventClass } from '../core/vocabulary.js';
import type { CopyRows } from './copy.js';
import type { CopyFields } from './copy-fields.js';
import { DECISION, type Dictionaries, type EntryIDs, REASON } from './dictionaries.js';
import type { KnownEntries } from './dictionaries-writer.js';

/**
 * The first four are only known when the event is appended; the others depend on nothing but the event. Of those, the
 * first five refer to dictionaries.
 */
export const EVENT_COLUMNS = [
  'cluster_id',
  'source_id',
  'seq',
  'class',
  'object_id',
  'user_id',
  'impersonated_user_id',
  'user_agent_id',
  'authorization_id',
  'at',
  'digest',
  'request_id',
  'audit_id',
  'api_version',
  'stage',
  'level',
  'stage_at',
  'verb',
  'request_uri',
  'object_ref',
  'source_ips',
  'code',
  'status',
  'annotations',
  'authentication_metadata',
  'request_digest',
  'response_digest',
] as const;

/** Writes one `events` row, and takes in the dictionary entries that it needs and the store may not have. */
export function writeEventRow(
  rows: CopyRows,
  place: { clusterID: number; sourceID: number; seq: number; class: EventClass },
  accepted: AcceptedEvent,
  dictionaries: Dictionaries,
  known: KnownEntries,
): void {
  rows.row(EVENT_COLUMNS.length);
  rows.int4(place.clusterID);
  rows.int4(place.sourceID);
  rows.int8(place.seq);
  rows.text(place.class);
  const { encodedRow } = accepted;
  if (!encodedRow) {
    writeReferences(rows, accepted.event, dictionaries);
    writeOwnColumns(rows, accepted, accepted.event);
    return;
  }
  const { columns, referenceBytes } = encodedRow;
  rows.raw(columns);
  const references = columns.toString('latin1', 0, referenceBytes);
  if (known.references.has(references) || dictionaries.references.has(references)) return;
  dictionaries.references.add(references);
  dictionaries.add(accepted.event);
}

/** Appends the columns that depend on the event only, for the thread that appends events to find them ready. */
export function encodeEventRow(
  out: CopyFields,
  accepted: AcceptedEvent,
  ids: EntryIDs,
): { start: number; end: number; referenceBytes: number } {
  const start = out.length;
  writeReferences(out, accepted.event, ids);
  const referenceBytes = out.length - start;
  writeOwnColumns(out, accepted, accepted.event);
  return { start, end: out.length, referenceBytes };
}

function writeReferences(rows: CopyFields, event: AuditEvent, ids: EntryIDs): void {
  rows.uuid(event.objectRef && ids.object(objectKey(event.objectRef)));
  rows.int8(ids.user(event.user));
  rows.int8(ids.user(event.impersonatedUser));
  rows.int8(ids.userAgent(event.userAgent));
  rows.int8(ids.authorization(event.annotations));
}

function writeOwnColumns(rows: CopyFields, accepted: AcceptedEvent, event: AuditEvent): void {
  const ref = event.objectRef;
  const status = event.responseStatus;
  rows.time(event.requestReceivedTimestamp);
  rows.bytes(accepted.digest);
  rows.uuid(accepted.requestID);
  rows.text(event.auditID);
  rows.text(event.apiVersion);
  rows.text(event.stage);
  rows.text(event.level);
  rows.time(event.stageTimestamp);
  rows.text(event.verb);
  rows.text(event.requestURI);
  rows.jsonb(ref && restOf(ref, ['apiGroup', 'resource', 'namespace', 'name']));
  rows.textArray(event.sourceIPs);
  rows.int2(status?.code);
  rows.jsonb(status && restOf(status, ['code']));
  rows.jsonb(event.annotations && restOf(event.annotations, [DECISION, REASON]));
  rows.jsonb(event.authenticationMetadata);
  rows.bytes(accepted.request?.digest);
  rows.bytes(accepted.response?.digest);
}

/** The members that have no column of their own; undefined when none is left. */
function restOf(object: object, known: readonly string[]): object | undefined {
  let rest: Record<string, unknown> | undefined;
  for (const key of Object.keys(object)) {
    if (known.includes(key)) continue;
    rest ??= {};
    rest[key] = (object as Record<string, unknown>)[key];
  }
  return rest;
}
