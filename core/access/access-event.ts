import { canonicalJson, sha256 } from '../canonical.js';
import { formatMicros } from '../timestamp.js';
import type { CallerKind, Grant } from './grants.js';

/** A request to the API, as it is kept: who asked for what, and what came of it. */
export interface AccessEvent {
  /** Microseconds since the Unix epoch. */
  at: number;
  caller: string;
  callerKind: CallerKind;
  /** The highest role of the caller's grants. */
  role: string | null;
  /** What the grants reach, taken together; null: all. Which role reaches what is in `grants`. */
  clusters: string[] | null;
  namespaces: string[] | null;
  /** All that the caller was granted; null where nobody could be told, and in events of before grants were kept. */
  grants: Grant[] | null;
  method: string;
  /** The route's pattern, `/v1/changes/:id`. */
  route: string;
  /** Path and query. */
  target: string;
  /** Of a request that changes something, what its body asks for; null in others, and in events of before that was kept. */
  asked: Record<string, unknown> | null;
  /** `BEGUN` where what came of it is told by another event of the same request. */
  status: number;
  sourceIP: string;
  requestID: string;
}

/** The status of an event that says that a change is about to be made (HTTP: Continue). */
export const BEGUN = 100;

/** What the proof log holds of an access event. What events of before didn't keep is not in their digests. */
export function accessEventDigest({ grants, asked, ...event }: AccessEvent): Buffer {
  return sha256(
    canonicalJson({
      ...event,
      at: formatMicros(event.at),
      ...(grants !== null && { grants }),
      // Exports of before have no such member.
      ...(asked != null && { asked }),
    }),
  );
}
