/** What was meant to be an audit event and can't be read as one. A code, kept with it in the quarantine. */
export type Problem =
  | 'too_large'
  | 'too_deep'
  | 'unterminated'
  | 'not_an_object'
  | 'not_json'
  | 'not_an_audit_event'
  | 'truncated_record'
  | 'legacy_audit_line';

/** What is knowingly no audit event, although it stands among them. Counted, not kept. */
export type SkipReason =
  | 'control_message'
  | 'delivery_metadata'
  | 'other_log_stream'
  | 'write_test'
  | 'other_log_category'
  | 'other_service'
  | 'klog_line'
  | 'host_audit'
  | 'network_audit'
  | 'other_log'
  | 'other_class';

/** An Event as it stood in a record, or as a vendor's record was mapped to one. */
export interface EventItem {
  type: 'event';
  value: unknown;
  /** What it took of the object, in bytes. */
  size: number;
  /** Of the list around it; an item may lack its own. */
  apiVersion?: string | undefined;
  /** The record was cut, and these are its leading fields. */
  salvaged?: true;
  /** Where it stood in the object: `record 7`, `record 3, log event 2`. */
  place: string;
}

/** What can't be read. `text` is raw, and must be masked before it is kept anywhere. */
export interface ProblemItem {
  type: 'problem';
  problem: Problem;
  text: string;
  size: number;
  place: string;
}

export interface SkippedItem {
  type: 'skipped';
  reason: SkipReason;
  size: number;
}

/** One thing found in an object. */
export type Item = EventItem | ProblemItem | SkippedItem;
