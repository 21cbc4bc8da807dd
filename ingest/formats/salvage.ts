import { leadingFields } from '../../core/leading-fields.js';
import { refOfPath } from '../../core/request-path.js';
import { parseMicros } from '../../core/timestamp.js';
import { isAuditEvent, isObject, type Loose, stringOf } from './format-reader.js';

/** Where a salvaged event says so: which field the record ended in. */
export const SALVAGED = 'whochanged/salvaged';
/** Which fields of an event are not the apiserver's own words. */
export const INFERRED = 'whochanged/inferred';
/** The annotation that the apiserver's own truncation sets; the ledger takes no body for complete where it stands. */
export const TRUNCATED = 'audit.k8s.io/truncated';

/** Fields that are one value: half of one would be another. */
const WHOLE_ONLY = new Set(['requestObject', 'responseObject', 'authenticationMetadata', 'impersonatedUser']);

/**
 * Makes an event of a record that was cut, as AKS cuts them at 16 KiB (github.com/Azure/AKS/issues/4635): the fields that
 * stand whole at its beginning, marked. Each is what the apiserver wrote, or absent, except for the times, which it
 * writes last: without them the envelope's time stands for them, and `whochanged/inferred` says so.
 * Undefined where too little is left to say who did what, and whether it succeeded. It still has to be redacted.
 */
export function salvageEvent(text: string, envelopeTime: unknown): Loose | undefined {
  const { fields, cut } = leadingFields(text);
  if (!isAuditEvent(fields) || (fields.kind !== undefined && fields.kind !== 'Event')) return undefined;
  const event: Record<string, unknown> = { ...fields };
  if (cut !== undefined && WHOLE_ONLY.has(cut)) delete event[cut];
  if (!isObject(event.user) || !stringOf(event.user.username)) return undefined;
  // It stands behind impersonatedUser, whichever way fields are sorted: whom someone acted as can't be what is missing.
  if (!Array.isArray(event.sourceIPs)) return undefined;
  for (const field of ['level', 'auditID', 'stage', 'requestURI', 'verb'])
    if (!stringOf(event[field])) return undefined;
  const status = event.responseStatus;
  // Without its outcome, a refused request would pass for a change.
  if (event.stage !== 'RequestReceived' && !(isObject(status) && typeof status.code === 'number'))
    return undefined;
  if (cut === 'objectRef')
    event.objectRef = { ...refOfPath(event.requestURI as string), ...(event.objectRef as object) };
  const inferred: string[] = [];
  if (event.requestReceivedTimestamp === undefined) {
    if (parseMicros(envelopeTime) === undefined) return undefined;
    event.requestReceivedTimestamp = envelopeTime;
    inferred.push('requestReceivedTimestamp');
  }
  if (event.stageTimestamp === undefined) {
    event.stageTimestamp =
      parseMicros(envelopeTime) === undefined ? event.requestReceivedTimestamp : envelopeTime;
    inferred.push('stageTimestamp');
  }
  event.annotations = {
    ...(isObject(event.annotations) ? event.annotations : {}),
    [TRUNCATED]: 'true',
    [SALVAGED]: `cut ${cut !== undefined && FIELDS.has(cut) ? `in ${cut}` : 'between fields'}`,
    ...(inferred.length > 0 && { [INFERRED]: inferred.join(',') }),
  };
  return event;
}

/** Field names that may be repeated in an annotation. */
const FIELDS = new Set([
  ...['requestObject', 'responseObject', 'annotations', 'objectRef', 'responseStatus', 'user'],
  ...['sourceIPs', 'userAgent', 'requestReceivedTimestamp', 'stageTimestamp', 'authenticationMetadata'],
]);
