import type { FoundObject } from '../../store/source-objects.js';
import { urlDecoded } from './list.js';

/** An object that a message tells of. Without an etag it says too little, and a listing has to find the object. */
export interface NotifiedObject extends Omit<FoundObject, 'etag'> {
  bucket: string;
  etag: string | undefined;
}

/** What a message is: objects that were created; something to pass over; or nothing that is known. */
export type Notification =
  | { type: 'created'; objects: NotifiedObject[] }
  | { type: 'ignored'; what: 'test_event' | 'other_event' }
  | { type: 'unknown' };

interface S3Record {
  eventSource?: unknown;
  eventName?: unknown;
  eventTime?: unknown;
  s3?: { bucket?: { name?: unknown }; object?: { key?: unknown; size?: unknown; eTag?: unknown } };
}

/**
 * Reads a message of a queue: an S3 event notification (docs.aws.amazon.com/AmazonS3, "Event message structure"), the
 * test message that S3 sends when notifications are set up, an EventBridge event of S3 ("EventBridge event message
 * structure"), or any of them in the envelope of SNS.
 */
export function readNotification(body: string): Notification {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return { type: 'unknown' };
  }
  if (!isRecord(value)) return { type: 'unknown' };
  if (value.Type === 'Notification' && typeof value.Message === 'string')
    return readNotification(value.Message);
  if (value.Event === 's3:TestEvent') return { type: 'ignored', what: 'test_event' };
  if (Array.isArray(value.Records)) return readRecords(value.Records as Array<S3Record | null>);
  if (value.source === 'aws.s3' && isRecord(value.detail)) return readEventBridge(value, value.detail);
  return { type: 'unknown' };
}

function readRecords(records: Array<S3Record | null>): Notification {
  const objects: NotifiedObject[] = [];
  for (const record of records) {
    if (record?.eventSource !== 'aws:s3') return { type: 'unknown' };
    // Newer ones come without "s3:". Removals, restores, lifecycle and the like tell of nothing to read.
    if (!/^(s3:)?ObjectCreated:/.test(String(record.eventName))) continue;
    const { bucket, object } = record.s3 ?? {};
    if (typeof bucket?.name !== 'string' || typeof object?.key !== 'string') return { type: 'unknown' };
    // Keys are URL-encoded here, and here only.
    objects.push(found(bucket.name, urlDecoded(object.key), object.size, object.eTag, record.eventTime));
  }
  return objects.length > 0 ? { type: 'created', objects } : { type: 'ignored', what: 'other_event' };
}

function readEventBridge(event: Record<string, unknown>, detail: Record<string, unknown>): Notification {
  if (event['detail-type'] !== 'Object Created') return { type: 'ignored', what: 'other_event' };
  const { bucket, object } = detail;
  if (!isRecord(bucket) || !isRecord(object)) return { type: 'unknown' };
  if (typeof bucket.name !== 'string' || typeof object.key !== 'string') return { type: 'unknown' };
  return { type: 'created', objects: [found(bucket.name, object.key, object.size, object.etag, event.time)] };
}

function found(bucket: string, key: string, size: unknown, etag: unknown, time: unknown): NotifiedObject {
  const at = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  return {
    bucket,
    key,
    size: typeof size === 'number' ? size : 0,
    etag: typeof etag === 'string' && etag !== '' ? etag.replaceAll('"', '') : undefined,
    lastModified: new Date(Number.isNaN(at) ? Date.now() : at).toISOString(),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
