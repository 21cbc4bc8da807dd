import {
  event,
  type FormatDefinition,
  isAuditEvent,
  isObject,
  type ParsedRecord,
  problem,
  skipped,
} from './format-reader.js';
import type { Item } from './item.js';

/** k8s.io/klog/v2 text output: severity, month and day, time, thread, file and line. */
const KLOG = /^[IWEF]\d{4} \d{2}:\d{2}:\d{2}\.\d+\s/;
/** The legacy format of k8s.io/apiserver/plugin/pkg/audit/log (audit.EventString). */
const LEGACY = /\bAUDIT: id="/;
/** `oc adm node-logs` writes the node's name before each line. */
const HOST = /^[A-Za-z0-9][A-Za-z0-9.-]*[ \t]+$/;

/** Linux's own audit log, and OVN's of network policies, which OpenShift's must-gather puts beside the API servers'. */
const AUDITD = /^type=\w+ msg=audit\(/;
const OVN = /\|acl_log\(/;

/** What a line of text is, of those that stand in or beside audit logs. */
function lineItem(record: ParsedRecord): Item | undefined {
  const { text } = record;
  if (KLOG.test(text)) return skipped('klog_line', record);
  if (AUDITD.test(text)) return skipped('host_audit', record);
  if (OVN.test(text)) return skipped('network_audit', record);
  return LEGACY.test(text) ? problem('legacy_audit_line', record) : undefined;
}

/** Any field of an Event: what lacks some of them is a broken one. */
function hasMark(value: unknown): boolean {
  return (
    isObject(value) && ['kind', 'auditID', 'stage', 'verb', 'requestURI'].some((field) => field in value)
  );
}

/** A line that is no JSON, where lines of JSON are expected. */
export function readTextLine(record: ParsedRecord): Item {
  return lineItem(record) ?? problem('not_json', record);
}

/**
 * The log file of a kube-apiserver's log backend, rotated or not: one audit.k8s.io Event a line
 * (k8s.io/apiserver/plugin/pkg/audit/log). The same is written by RKE2 (/var/lib/rancher/rke2/server/logs/audit.log) and k3s
 * (/var/lib/rancher/k3s/server/logs/audit.log), as their hardening guides have it, and by OpenShift's kube-apiserver,
 * openshift-apiserver and oauth-apiserver (/var/log/*-apiserver/audit.log; OpenShift, "Viewing audit logs"). Also what
 * Firehose makes of CloudWatch's records when it extracts
 * their messages: Events without anything between them.
 */
export const auditLog: FormatDefinition = {
  claims: (record) =>
    record.type === 'text'
      ? lineItem(record) !== undefined
      : isAuditEvent(record.value) && (record.prefix === '' || HOST.test(record.prefix)),
  open: () => ({
    *read(record) {
      if (record.type === 'text') yield readTextLine(record);
      else yield hasMark(record.value) ? event(record.value, record) : problem('not_an_audit_event', record);
    },
  }),
};
