/**
 * The closed word lists of the ledger. The same spellings stand in the SQL enums (migrations/), the API, the CLI and
 * the docs; test/store/vocabulary.test.ts holds SQL to this file.
 */

/**
 * What an event is. A default answer shows `change` and `access`; `--all` shows the rest.
 *
 * - `change`: an effective write that a person cares for
 * - `access`: interactive access to a running workload (exec, attach, port-forward, proxy, debug)
 * - `derived`: an effective write by a built-in controller, a consequence of some change
 * - `status`: an effective write that touched only status, heartbeats or other bookkeeping
 * - `lease`: leases and leader election records
 * - `kube_event`: core/v1 and events.k8s.io Event objects
 * - `review`: SubjectAccessReview, TokenReview and the like: questions, not writes
 * - `dry_run`, `no_op`, `rejected`: writes that wrote nothing (dryRun=All; same resourceVersion; code >= 400)
 * - `failed_auth`: 401, at whatever stage
 * - `secret_read`: an allowed get, list or watch of Secrets
 * - `read`: every other read
 * - `stage`: a stage that says nothing final (RequestReceived, most ResponseStarted)
 */
export const EVENT_CLASSES = [
  'change',
  'access',
  'derived',
  'status',
  'lease',
  'kube_event',
  'review',
  'dry_run',
  'no_op',
  'rejected',
  'failed_auth',
  'secret_read',
  'read',
  'stage',
] as const;
export type EventClass = (typeof EVENT_CLASSES)[number];

/** The classes that are effective writes or access, and so have a row in `changes`. */
export const CHANGE_CLASSES = ['change', 'access', 'derived', 'status'] as const;
export type ChangeClass = (typeof CHANGE_CLASSES)[number];

/** What a change did, in the words of someone who reads about it at night. */
export const CHANGE_KINDS = [
  'create',
  'update',
  'delete',
  'delete_collection',
  'finalizer_removal',
  'eviction',
  'binding',
  'scale',
  'restart',
  'cordon',
  'uncordon',
  'rbac_grant',
  'rbac_revoke',
  'csr_approval',
  'token_request',
  'exec',
  'attach',
  'port_forward',
  'proxy',
  'debug',
] as const;
export type ChangeKind = (typeof CHANGE_KINDS)[number];

/** `json`: RFC 6902; `merge`: RFC 7386; `strategic`: strategic merge patch; `apply`: server-side apply. */
export const PATCH_TYPES = ['json', 'merge', 'strategic', 'apply', 'ambiguous'] as const;
export type PatchType = (typeof PATCH_TYPES)[number];

/** `started`: seen to begin, end not seen yet; `unknown`: received by the apiserver, no outcome ever seen. */
export const OUTCOMES = ['succeeded', 'started', 'unknown', 'panicked'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/**
 * How a value in a reconstructed object is known. `exact`: in a response body at that time. `inferred`: from a patch,
 * a request body or an older version. `unknown`: the write is known, its content is not.
 */
export const CERTAINTIES = ['exact', 'inferred', 'unknown'] as const;
export type Certainty = (typeof CERTAINTIES)[number];

export const ROLES = ['reader', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];
