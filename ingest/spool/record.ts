import { type AcceptedEvent, acceptValue, type Redaction, type Rejection } from '../../core/accept.js';
import { formatMicros } from '../../core/timestamp.js';
import type { Batch } from '../../store/new-events.js';

/** A rejection as JSON: its digest in hex. */
type StoredRejection = Omit<Rejection, 'digest'> & { digest: string };

interface StoredBatch {
  sourceID: number;
  clusterID: number;
  receivedAt: number;
  events: unknown[];
  rejections: StoredRejection[];
}

/** A batch as one record of the spool: redacted events as JSON, so that nothing on disk is more than what Postgres would hold. */
export function encodeBatch(batch: Batch): Buffer {
  const stored: StoredBatch = {
    sourceID: batch.sourceID,
    clusterID: batch.clusterID,
    receivedAt: batch.receivedAt,
    events: batch.accepted.map(({ event }) => ({
      ...event,
      requestReceivedTimestamp: formatMicros(event.requestReceivedTimestamp),
      stageTimestamp: formatMicros(event.stageTimestamp),
    })),
    rejections: batch.rejections.map((rejection) => ({
      ...rejection,
      digest: rejection.digest.toString('hex'),
    })),
  };
  return Buffer.from(JSON.stringify(stored));
}

/** The same batch again. Redaction leaves redacted values as they are, so every digest comes out the same. */
export function decodeBatch(record: Buffer, redaction: Redaction): Batch {
  const stored = JSON.parse(record.toString('utf8')) as StoredBatch;
  const accepted: AcceptedEvent[] = [];
  const rejections: Rejection[] = stored.rejections.map((rejection) => ({
    ...rejection,
    digest: Buffer.from(rejection.digest, 'hex'),
  }));
  for (const value of stored.events) {
    const acceptance = acceptValue(value, record.length / stored.events.length, undefined, redaction);
    if (acceptance.ok) accepted.push(acceptance.accepted);
    else rejections.push(acceptance.rejection);
  }
  return {
    sourceID: stored.sourceID,
    clusterID: stored.clusterID,
    receivedAt: stored.receivedAt,
    accepted,
    rejections,
  };
}
