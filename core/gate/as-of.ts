import type { CommitFacts } from '../approval/facts.js';
import { evaluate } from '../verdict/evaluate.js';
import type { Verdict } from '../verdict/verdict.js';
import type { SourceCommits, VerdictCase } from '../verdict/verdict-case.js';

/** What a host said this long ago still counts as what it says; microseconds. */
export const FRESH = 15 * 60 * 1e6;

/**
 * The time as of which commits that aren't deployed yet are judged: when their host was last asked, where that is recent
 * and after the commits came to us. Else now, for which the host wasn't asked: then nothing is said to be missing.
 * @param indexedAt when the latest of the commits came to us
 */
export function judgedAsOf(commits: readonly CommitFacts[], indexedAt: number, now: number): number {
  if (commits.length === 0) return now;
  let asOf = now;
  for (const { hostSyncedAt } of commits) {
    if (hostSyncedAt === undefined || hostSyncedAt < indexedAt || hostSyncedAt < now - FRESH) return now;
    asOf = Math.min(asOf, hostSyncedAt);
  }
  return asOf;
}

/** Commits that are about to be deployed. */
export interface UpcomingCommits extends SourceCommits {
  /** judgedAsOf */
  asOf: number;
}

/**
 * Judges what isn't deployed yet: as of now, and where that leaves open whether something is missing, as of when the host
 * was asked.
 */
export function evaluateUpcoming(c: Omit<VerdictCase, 'sources'> & { sources: UpcomingCommits[] }): Verdict {
  const verdict = evaluate(c);
  if (verdict.verdict !== 'unknown' || verdict.reason !== 'approval_unknown') return verdict;
  return evaluate({
    ...c,
    sources: c.sources.map(({ asOf, ...source }) => ({ ...source, deployedAt: asOf })),
  });
}
