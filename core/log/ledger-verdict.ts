import type { LeafType } from './leaf.js';

/** What came of checking a whole ledger against its log. */
export interface LedgerVerdict {
  problems: number;
  /** Records of each kind that were compared with their leaves. */
  records: Record<LeafType, number>;
  /** Leaves of the log. */
  size: number;
  /** Leaves under a checkpoint that holds. */
  provenSize: number;
  /** Records that have no place yet. */
  waiting: number;
}

/** In one line, for a person. */
export function describeLedgerVerdict({
  problems,
  records,
  size,
  provenSize,
  waiting,
}: LedgerVerdict): string {
  const kinds = `${records.event} events, ${records.verdict} verdicts, ${records.access} access events`;
  const outcome = problems === 0 ? 'it holds' : `${problems} problems`;
  return `${kinds}, ${size} leaves, ${provenSize} of them signed, ${waiting} records waiting for a place: ${outcome}`;
}
