import type { FieldChange } from './diff/diff.js';
import type { ObjectState } from './state.js';
import type { ChangeClass, ChangeKind, PatchType } from './vocabulary.js';
import type { Write } from './write.js';

/**
 * What a reader must know about a change besides its fields.
 *
 * - `before_unknown`: first write seen of this object; only what the request names is listed
 * - `generation_gap`: a write between this and the version before is missing, so some fields may be another's doing
 * - `content_not_recorded`: the audit level or truncation kept the bodies out
 * - `truncated`: the apiserver removed the bodies for size
 * - `item_of_collection`: one object of a deletecollection
 * - `items_unknown`: a deletecollection whose answer doesn't name what it deleted
 * - `deletion_pending`: asked for; finalizers or a grace period still hold the object
 * - `recreated`: same name as before, another uid
 * - `impersonated`: done in another's name
 * - `audit_id_reused`: its auditID also stands on another request
 */
export const FLAGS = [
  'before_unknown',
  'generation_gap',
  'content_not_recorded',
  'truncated',
  'item_of_collection',
  'items_unknown',
  'deletion_pending',
  'recreated',
  'impersonated',
  'audit_id_reused',
] as const;
export type Flag = (typeof FLAGS)[number];

/** An object as it was after one write, as far as the next write's projection needs it. */
export interface Version {
  orderRV: bigint;
  at: number;
  uid: string | undefined;
  generation: number | undefined;
  deleted: boolean;
  state: ObjectState;
}

/** A projected write: what the ledger says of it. */
export interface Change {
  write: Write;
  class: ChangeClass;
  kind: ChangeKind;
  patchType: PatchType | undefined;
  before: Version | undefined;
  /** undefined: the write makes no version (access, eviction, token request, a collection) */
  after: Version | undefined;
  resourceVersion: string | undefined;
  diff: FieldChange[] | undefined;
  fieldTerms: string[];
  /** `key=value`: the object's after the change, of a deletion its last, of an access those it had. */
  labels: string[];
  summary: string;
  flags: Flag[];
}

/** The outcome of projecting one write: a change, or nothing, since nothing was written. */
export type Projection = { write: Write; noOp: true } | { write: Write; noOp: false; change: Change };
