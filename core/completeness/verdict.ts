import type { CompletenessVerdict } from './counters.js';

/** What is known of one source over a time. */
export interface SourceEvidence {
  openGaps: number;
  /** Some interval of its counters is incomplete. */
  incomplete: boolean;
  /** Intervals that are complete cover the whole time. */
  covered: boolean;
}

/**
 * Complete only where the counters prove it over the whole time and nothing else speaks against it; what is known to be
 * missing makes it incomplete; all else is unknown.
 */
export function verdictOf(evidence: SourceEvidence): CompletenessVerdict {
  if (evidence.openGaps > 0 || evidence.incomplete) return 'incomplete';
  return evidence.covered ? 'complete' : 'unknown';
}

/** The verdict on several sources: no better than the worst, and unknown of none. */
export function overallVerdict(verdicts: readonly CompletenessVerdict[]): CompletenessVerdict {
  if (verdicts.includes('incomplete')) return 'incomplete';
  return verdicts.length > 0 && verdicts.every((verdict) => verdict === 'complete') ? 'complete' : 'unknown';
}
