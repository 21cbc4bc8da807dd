import { canonicalDigest } from '../canonical.js';

/** A verdict as its row keeps it; times as RFC 3339 in UTC with microseconds. */
export interface VerdictRecord {
  at: string;
  changeID: string;
  evaluatedAt: string;
  verdict: string;
  reason: string | null;
  detail: string;
  environment: string;
  policyDigest: string;
  final: boolean;
  rootChangeID: string | null;
  rootVerdict: string | null;
  rootReason: string | null;
  document: object;
}

/** What the proof log holds of a verdict: every column counts, and the time and policy by which it was made. */
export function verdictRecordDigest(record: VerdictRecord): Buffer {
  return canonicalDigest(record);
}
