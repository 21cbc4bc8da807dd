import { createHash } from 'node:crypto';
import type { Control } from './controls.js';
import type { ReportGap } from './gap.js';

/** One member of a report's population. */
export interface ReportRow {
  id: string;
  /** RFC 3339, UTC. */
  at: string;
  cluster: string;
  namespace: string;
  object: string;
  actor: string;
  summary: string;
  /** `approved`, `unapproved(stale)`, ... where the population has verdicts. */
  verdict?: string;
  detail?: string;
  commits?: string[];
  approvers?: string[];
  /** It is what a reviewer should look at first. */
  exception: boolean;
}

/** What can be said of whether the population is all there is (docs/completeness.md). */
export interface ReportCompleteness {
  verdict: 'complete' | 'incomplete' | 'unknown';
  /** Open gaps that overlap the period. */
  gaps: number;
  /** Events of segments that reach into the period, lie in the archive and were not read; left out: none. */
  unread?: number;
}

export interface ReportScope {
  control: Control;
  environments: string[];
  clusters: string[];
  /** RFC 3339, half-open. */
  since: string;
  until: string;
}

export interface Report extends ReportScope {
  /** The request that gives the population. */
  query: string;
  /** Members of the population. */
  rows: number;
  /** By verdict or, where there is none, by what was done. */
  counts: Array<{ what: string; rows: number }>;
  /** Versions of the policies that the verdicts were made by. */
  policies: string[];
  completeness: ReportCompleteness;
  /** Those that `completeness` counts, the latest first, up to `MAX_GAPS`. */
  gaps: ReportGap[];
  /** Of all clusters, oldest first: the first `MAX_EXCEPTIONS`. */
  exceptions: ReportRow[];
  exceptionRows: number;
  sample: { seed: string; rows: ReportRow[] };
  /** SHA-256 over the ids and verdicts of the whole population in order: equal populations have equal digests. */
  populationDigest: string;
}

/** Beyond this a report is not read by people; the export of the population has them all. */
export const MAX_EXCEPTIONS = 1000;
export const MAX_GAPS = 100;

/**
 * Gathers a report from its population, which may be of any length and comes in the same order each time: the digest is
 * over that order. The sample is drawn by the order of SHA-256(seed, id), so that anyone with the seed draws the same
 * again. No more is held than what is told.
 */
export class ReportGathering {
  readonly #seed: string;
  readonly #sampleSize: number;
  readonly #counts = new Map<string, number>();
  readonly #policies = new Set<string>();
  readonly #digest = createHash('sha256');
  #exceptions: ReportRow[] = [];
  #sample: Array<{ rank: string; row: ReportRow }> = [];
  #rows = 0;
  #exceptionRows = 0;

  constructor(options: { seed: string; sampleSize: number }) {
    this.#seed = options.seed;
    this.#sampleSize = options.sampleSize;
  }

  add(row: ReportRow, what: string, policy?: string): void {
    this.#rows++;
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
    if (policy !== undefined) this.#policies.add(policy);
    this.#digest.update(`${row.id}\0${row.verdict ?? ''}\n`);
    if (row.exception) {
      this.#exceptionRows++;
      this.#exceptions.push(row);
      // Not the first that come: those may be of one cluster.
      if (this.#exceptions.length >= 2 * MAX_EXCEPTIONS) this.#exceptions = firstOf(this.#exceptions);
    }
    const rank = createHash('sha256').update(`${this.#seed}\0${row.id}`).digest('hex');
    this.#sample.push({ rank, row });
    if (this.#sample.length > 2 * this.#sampleSize + 100) this.#trim();
  }

  #trim(): void {
    this.#sample.sort((a, b) => (a.rank < b.rank ? -1 : a.rank > b.rank ? 1 : 0));
    this.#sample = this.#sample.slice(0, this.#sampleSize);
  }

  finish(
    scope: ReportScope,
    query: string,
    completeness: ReportCompleteness,
    gaps: ReportGap[] = [],
  ): Report {
    this.#trim();
    return {
      ...scope,
      query,
      rows: this.#rows,
      counts: [...this.#counts]
        .map(([what, rows]) => ({ what, rows }))
        .sort((a, b) => b.rows - a.rows || (a.what < b.what ? -1 : 1)),
      policies: [...this.#policies].sort(),
      completeness,
      gaps,
      exceptions: firstOf(this.#exceptions),
      exceptionRows: this.#exceptionRows,
      sample: {
        seed: this.#seed,
        rows: this.#sample.map(({ row }) => row).sort(byTime),
      },
      populationDigest: this.#digest.digest('hex'),
    };
  }
}

function byTime(a: ReportRow, b: ReportRow): number {
  return a.at < b.at ? -1 : a.at > b.at ? 1 : a.id < b.id ? -1 : 1;
}

function firstOf(exceptions: ReportRow[]): ReportRow[] {
  return [...exceptions].sort(byTime).slice(0, MAX_EXCEPTIONS);
}

/** `2026-07-01T00:00:00.000000Z` as `2026-07-01T00:00:00Z`: the same time, without zeros that tell nothing. */
export function plainTime(at: string): string {
  return at.replace(/\.0+Z$/, 'Z');
}

function missing({ gaps, unread }: ReportCompleteness, period: string): string {
  const known = `${gaps} known ${gaps === 1 ? 'gap overlaps' : 'gaps overlap'} the time ${period}. Changes may be missing in them.`;
  if (unread === undefined) return known;
  const archived = `up to ${unread} events of the time ${period} lie in the archive, and were not read.`;
  return gaps === 0 ? archived : `${known} Besides, ${archived}`;
}

/** What a report says about completeness, in words that claim no more than is known. */
export function completenessStatement({ completeness, since, until }: Report): string {
  const period = `from ${plainTime(since)} until ${plainTime(until)}`;
  switch (completeness.verdict) {
    case 'complete':
      return `The audit counters of every source prove that all events ${period} arrived.`;
    case 'incomplete':
      return `The list is not complete: ${missing(completeness, period)}`;
    case 'unknown':
      return `Whether every event ${period} arrived is not proven. No gap is known. Absence from this list is no proof that something did not happen.`;
  }
}
