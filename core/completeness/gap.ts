/**
 * Why something is missing, or must be feared to be.
 *
 * - `events_missing`: the apiserver counted events that did not come
 * - `canary_missing`: the audit event of a write of ours did not come
 * - `generation_gap`: an object's generation jumped: a write between two that came is missing
 * - `receiver_down`: nothing received for longer than the apiserver's webhook keeps trying
 * - `batches_refused`: batches were refused for as long
 * - `truncated`: a change came without its content, which had been cut off for its size
 * - `quarantined`: an event came that could not be read
 * - `object_unread`: an object of a bucket could not be read, or the bucket not be listed
 */
export const GAP_CAUSES = [
  'events_missing',
  'canary_missing',
  'generation_gap',
  'receiver_down',
  'batches_refused',
  'truncated',
  'quarantined',
  'object_unread',
] as const;
export type GapCause = (typeof GAP_CAUSES)[number];

/** A gap is never deleted; it closes when what was missing came after all, or was never missing. */
export const GAP_STATES = ['open', 'closed'] as const;
export type GapState = (typeof GAP_STATES)[number];
