import type { LeafType } from './leaf.js';

/** What came of checking a whole ledger against its log. */
export interface LedgerVerdict {
  problems: number;
  /** Records of each kind that were compared with their leaves. */
  records: Record<LeafType, number>;
  /** Changes that were compared with the events they were made from. */
  changes: number;
  /** Bodies that were compared with their digests. */
  bodies: number;
  /** Verdicts and access events that were stored before they had leaves, and got them later: the log proves nothing of before. */
  lateLeaves: number;
  /** When the last of these was made, RFC 3339; null where there is none. */
  lateLeavesAt: string | null;
  /** Events that were read from the archive and compared with their leaves. */
  archivedEvents: number;
  /** Places of archived events that were not compared, since no archive was there to read. */
  unchecked: number;
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
  changes,
  bodies,
  size,
  provenSize,
  waiting,
  archivedEvents,
  unchecked,
  lateLeaves,
  lateLeavesAt,
}: LedgerVerdict): string {
  const kinds = `${records.event} events, ${records.verdict} verdicts, ${records.access} access events, ${changes} changes, ${bodies} bodies`;
  const archived = archivedEvents > 0 ? `, ${archivedEvents} archived events` : '';
  const open = unchecked > 0 ? `, ${unchecked} archived events not checked for want of the archive` : '';
  const late =
    lateLeaves > 0
      ? `, ${lateLeaves} of them proven only from when their leaves were made later, the last at ${lateLeavesAt}`
      : '';
  const outcome = problems === 0 ? 'it holds' : `${problems} problems`;
  return `${kinds}${late}${archived}${open}, ${size} leaves, ${provenSize} of them signed, ${waiting} records waiting for a place: ${outcome}`;
}
