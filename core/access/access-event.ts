import { canonicalJson, sha256 } from '../canonical.js';
import { formatMicros } from '../timestamp.js';
import type { CallerKind } from './grants.js';

/** A request to the API, as it is kept: who asked for what, and what came of it. */
export interface AccessEvent {
  /** Microseconds since the Unix epoch. */
  at: number;
  caller: string;
  callerKind: CallerKind;
  role: string | null;
  clusters: string[] | null;
  namespaces: string[] | null;
  method: string;
  /** The route's pattern, `/v1/changes/:id`. */
  route: string;
  /** Path and query. */
  target: string;
  status: number;
  sourceIP: string;
  requestID: string;
}

/** What the proof log holds of an access event. */
export function accessEventDigest(event: AccessEvent): Buffer {
  return sha256(canonicalJson({ ...event, at: formatMicros(event.at) }));
}
