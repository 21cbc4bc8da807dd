import type { AcceptedBody, EncodedRow } from '../core/accept.js';
import type { AuditEvent } from '../core/audit-event.js';
import { type OwnParts, takeApart } from '../core/event-context.js';
import { objectKey } from '../core/identity.js';
import type { EventClass } from '../core/vocabulary.js';
import type { CopyRows } from './copy.js';
import type { CopyFields } from './copy-fields.js';
import type { Dictionaries, EntryIDs } from './dictionaries.js';
import type { KnownEntries } from './dictionaries-writer.js';

/**
 * The first four are only known when the event is appended; the others depend on nothing but the event. Of those, the
 * first four refer to dictionaries.
 */
export const EVENT_COLUMNS = [
  'cluster_id',
  'source_id',
  'seq',
  'class',
  'object_id',
  'user_id',
  'impersonated_user_id',
  'context_id',
  'at',
  'stage_at',
  'stage',
  'request_id',
  'digest',
  'audit_id',
  'subresource',
  'uri_rest',
  'object_uid',
  'object_resource_version',
  'status',
  'annotations',
  'request_digest',
  'response_digest',
] as const;

/** What an event's row is made of. */
export interface StoredEvent {
  event: AuditEvent;
  digest: Buffer;
  requestID: string;
  request: Pick<AcceptedBody, 'digest'> | undefined;
  response: Pick<AcceptedBody, 'digest'> | undefined;
  encodedRow: EncodedRow | undefined;
}

/** The id of an event's context, as its row refers to it: where another thread encoded that, nothing is taken apart again. */
export function contextID(stored: Pick<StoredEvent, 'event' | 'encodedRow'>, ids: EntryIDs): bigint {
  const { encodedRow } = stored;
  // The last of the references.
  if (encodedRow) return encodedRow.columns.readBigInt64BE(encodedRow.referenceBytes - 8);
  return ids.context(takeApart(stored.event).context);
}

/** SQL of the context that the event of a row has, by where it stands: for changes that aren't written with their event. */
export function contextIDSql(row: string, digest: string): string {
  return `(select r.context_id from event_rows r where r.cluster_id = ${row}.cluster_id and r.at = ${row}.at
                and r.digest = ${row}.${digest} and r.source_id = ${row}.source_id limit 1)`;
}

/** Writes one row of `event_rows`, and takes in the dictionary entries that it needs and the store may not have. */
export function writeEventRow(
  rows: CopyRows,
  place: { clusterID: number; sourceID: number; seq: number | bigint; class: EventClass },
  stored: StoredEvent,
  dictionaries: Dictionaries,
  known: KnownEntries,
): void {
  rows.row(EVENT_COLUMNS.length);
  rows.int4(place.clusterID);
  rows.int4(place.sourceID);
  rows.int8(place.seq);
  rows.text(place.class);
  const { encodedRow } = stored;
  if (!encodedRow) {
    const parts = takeApart(stored.event);
    writeReferences(rows, stored.event, parts, dictionaries);
    writeOwnColumns(rows, stored, parts);
    return;
  }
  const { columns, referenceBytes } = encodedRow;
  rows.raw(columns);
  const references = columns.toString('latin1', 0, referenceBytes);
  if (known.references.has(references) || dictionaries.references.has(references)) return;
  dictionaries.references.add(references);
  dictionaries.add(stored.event);
}

/** Appends the columns that depend on the event only, for the thread that appends events to find them ready. */
export function encodeEventRow(
  out: CopyFields,
  stored: StoredEvent,
  ids: EntryIDs,
): { start: number; end: number; referenceBytes: number } {
  const start = out.length;
  const parts = takeApart(stored.event);
  writeReferences(out, stored.event, parts, ids);
  const referenceBytes = out.length - start;
  writeOwnColumns(out, stored, parts);
  return { start, end: out.length, referenceBytes };
}

function writeReferences(rows: CopyFields, event: AuditEvent, parts: OwnParts, ids: EntryIDs): void {
  rows.uuid(event.objectRef && ids.object(objectKey(event.objectRef)));
  rows.int8(ids.user(event.user));
  rows.int8(ids.user(event.impersonatedUser));
  rows.int8(ids.context(parts.context));
}

function writeOwnColumns(rows: CopyFields, stored: StoredEvent, parts: OwnParts): void {
  const { event } = stored;
  rows.time(event.requestReceivedTimestamp);
  rows.time(event.stageTimestamp);
  rows.text(event.stage);
  rows.uuid(stored.requestID);
  rows.bytes(stored.digest);
  rows.id(event.auditID);
  rows.text(event.objectRef?.subresource);
  rows.text(parts.uriRest);
  rows.id(event.objectRef?.uid);
  rows.text(event.objectRef?.resourceVersion);
  rows.jsonb(parts.status);
  rows.jsonb(parts.annotations);
  rows.bytes(stored.request?.digest);
  rows.bytes(stored.response?.digest);
}
