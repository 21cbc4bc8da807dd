import { readTextLine } from './audit-log.js';
import {
  event,
  type FormatDefinition,
  isAuditEvent,
  isObject,
  type Loose,
  type ParsedRecord,
  problem,
  skipped,
  stringOf,
} from './format-reader.js';
import type { Item } from './item.js';
import { looksLikeEvent, salvaged, unwrap } from './wrapped-event.js';

/** `log_source` of what is no API server's audit log. */
const OTHER_SOURCES: Record<string, 'host_audit' | 'network_audit' | 'other_log'> = {
  auditd: 'host_audit',
  ovn: 'network_audit',
  container: 'other_log',
  node: 'other_log',
};

/**
 * OpenShift's ViaQ data model, as the cluster logging operator forwards audit logs (openshift/cluster-logging-operator,
 * docs/reference/datamodels/viaq): the Event's fields on top, among the collector's own. `level` is overwritten by
 * "default"; the Event's own stands in `k8s_audit_level` (kube-apiserver) or `openshift_audit_level` (openshift-apiserver,
 * oauth-apiserver, oauth-server).
 */
export const openshift: FormatDefinition = {
  claims: ({ value }) =>
    isObject(value) &&
    (levelOf(value) !== undefined ||
      (typeof value.log_type === 'string' && typeof value.log_source === 'string')),
  open: () => ({
    *read(record) {
      yield record.type === 'text' ? readTextLine(record) : readEntry(record);
    },
  }),
};

function levelOf(value: Loose): string | undefined {
  return stringOf(value.k8s_audit_level) ?? stringOf(value.openshift_audit_level);
}

function readEntry(record: ParsedRecord): Item {
  const { value } = record;
  if (!isObject(value)) return problem('not_an_object', record);
  if (isAuditEvent(value)) return event({ ...value, level: levelOf(value) ?? value.level }, record);
  const source = stringOf(value.log_source);
  if (source !== undefined && Object.hasOwn(OTHER_SOURCES, source))
    return skipped(OTHER_SOURCES[source]!, record);
  const wrapped = unwrap(value.message ?? value.structured);
  if (wrapped.found === 'event') return event(wrapped.value, record);
  if (wrapped.found === 'cut' && looksLikeEvent(wrapped.text))
    return salvaged(wrapped.text, value['@timestamp'], record);
  if (wrapped.found === 'deep') return problem('too_deep', record);
  return value.log_type === 'audit' ? problem('not_an_audit_event', record) : skipped('other_log', record);
}
