import { EventListSplitter } from './event-list.js';
import type { Item, Problem } from './item.js';

/**
 * The wrappings in which audit events lie in files and objects; docs/formats.md describes each.
 *
 * - `event-list`: what a kube-apiserver posts to a webhook, stored as it was
 * - `audit-log`: the log file of a kube-apiserver (also RKE2, k3s, OpenShift): an Event a line
 * - `cloudwatch-subscription`: EKS, from CloudWatch Logs through a subscription and Firehose
 * - `cloudwatch-export`: EKS, from a CloudWatch Logs export task
 * - `gke`: Cloud Audit Logs as a log sink exports them
 * - `aks`: Azure diagnostic settings
 * - `openshift`: the cluster logging operator's ViaQ data model
 * - `log-shipper`: the records of Fluent Bit, Fluentd and Vector around a log line
 * - `ocsf`: OCSF API Activity, as EKS audit logs become in Amazon Security Lake
 */
export const FORMATS = [
  'event-list',
  'audit-log',
  'cloudwatch-subscription',
  'cloudwatch-export',
  'gke',
  'aks',
  'openshift',
  'log-shipper',
  'ocsf',
] as const;
export type Format = (typeof FORMATS)[number];

/** Cuts one object into items while it streams in: its memory is that of one record, whatever the object's size. */
export interface Splitter {
  /**
   * The items that this chunk completed. The chunk may be reused afterwards.
   * @throws WhochangedError `invalid_request` when it is none of the known formats
   */
  push(chunk: Buffer): Iterable<Item>;
  /**
   * What was left when the object ended.
   * @throws WhochangedError `invalid_request` when it is none of the known formats
   */
  end(): Iterable<Item>;
  /** Nothing was in it: neither a record nor a list without any. Known after the end. */
  readonly empty: boolean;
  /** Which format it is: the one asked for, or the one detected, once it is. */
  readonly format: Format | undefined;
}

export interface SplitterOptions {
  /** A larger record is passed over and reported. Bytes. */
  maxItemBytes: number;
}

/** Opens a splitter for one object. With `auto` the first records decide. */
export function openSplitter(format: Format | 'auto', { maxItemBytes }: SplitterOptions): Splitter {
  const list = new EventListSplitter({ maxItemBytes });
  let items = 0;
  const item = (found: { bytes: Buffer; problem?: Problem }): Item => {
    const place = `record ${items++}`;
    const text = found.bytes.toString('utf8');
    const size = found.bytes.length;
    if (found.problem) return { type: 'problem', problem: found.problem, text, size, place };
    return { type: 'event', content: { text }, size, apiVersion: list.apiVersion, place };
  };
  return {
    *push(chunk) {
      for (const found of list.push(chunk)) yield item(found);
    },
    *end() {
      const rest = list.end();
      if (rest) yield item(rest);
    },
    get empty() {
      return items === 0 && list.kind !== 'EventList' && !list.sawItems;
    },
    format: format === 'auto' ? undefined : format,
  };
}
