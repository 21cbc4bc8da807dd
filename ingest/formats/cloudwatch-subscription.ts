import { readTextLine } from './audit-log.js';
import {
  event,
  type FormatDefinition,
  isObject,
  type ParsedRecord,
  problem,
  skipped,
  stringOf,
} from './format-reader.js';
import type { Item } from './item.js';
import { looksLikeEvent, salvaged, unwrap } from './wrapped-event.js';

/** The streams of an EKS cluster's log group, /aws/eks/NAME/cluster (EKS user guide, control plane logs). */
const AUDIT_STREAM = /^kube-apiserver-audit-/;
const OTHER_STREAMS =
  /^(?:kube-apiserver|authenticator|kube-controller-manager|cloud-controller-manager|kube-scheduler)-/;

/** What Firehose writes about a delivery rather than of it. */
const DELIVERY_KEYS = ['deliveryStreamArn', 'attemptsMade', 'invocationId'];

/**
 * EKS audit logs from CloudWatch Logs through a subscription filter and Firehose: JSON objects without anything between
 * them, each `{messageType, owner, logGroup, logStream, subscriptionFilters, logEvents: [{id, timestamp, message}]}`
 * (Amazon CloudWatch Logs user guide, "Real-time processing of log data with subscriptions"). The message is an Event.
 * `timestamp` (milliseconds) is when CloudWatch was told; several events share one, and none identifies an event.
 */
export const cloudwatchSubscription: FormatDefinition = {
  claims: ({ list, value }) =>
    list === 'logEvents' ||
    (isObject(value) && (value.messageType === 'DATA_MESSAGE' || value.messageType === 'CONTROL_MESSAGE')),
  open: () => ({
    *read(record) {
      yield readLogEvent(record);
    },
  }),
};

function readLogEvent(record: ParsedRecord): Item {
  const { value, head } = record;
  if (record.type === 'text') return readTextLine(record);
  if (!isObject(value)) return problem('not_an_object', record);
  if ((head.messageType ?? value.messageType) === 'CONTROL_MESSAGE')
    return skipped('control_message', record);
  if (record.list !== 'logEvents') {
    const delivery = DELIVERY_KEYS.some((key) => key in value) && !('rawData' in value);
    return delivery ? skipped('delivery_metadata', record) : problem('not_an_audit_event', record);
  }
  const time = typeof value.timestamp === 'number' ? value.timestamp / 1000 : undefined;
  return readMessage(value.message, stringOf(head.logStream), time, record);
}

/** A log event's message, by the stream it stands in; where that is no control plane's, by what it holds. */
export function readMessage(
  message: unknown,
  stream: string | undefined,
  time: unknown,
  record: ParsedRecord,
): Item {
  if (stream !== undefined && OTHER_STREAMS.test(stream) && !AUDIT_STREAM.test(stream))
    return skipped('other_log_stream', record);
  const wrapped = unwrap(message);
  if (wrapped.found === 'event') return event(wrapped.value, { ...record, head: {} });
  if (wrapped.found === 'cut' && looksLikeEvent(wrapped.text)) return salvaged(wrapped.text, time, record);
  if (wrapped.found === 'deep') return problem('too_deep', record);
  const expected = stream !== undefined && AUDIT_STREAM.test(stream);
  return expected ? problem('not_an_audit_event', record) : skipped('other_log', record);
}
