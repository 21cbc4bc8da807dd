import { statfs } from 'node:fs/promises';
import { STEP_SECONDS } from './fill.js';
import { shifted, type Traffic } from './traffic.js';

/** What is left free on the disk, for what is written beside a store while it is filled. */
const SPARE_BYTES = 3e9;

const AUDIT_ID = /"auditID":"([^"]+)"/;
const TIMES = /"(requestReceivedTimestamp|stageTimestamp)":"([^".Z]+)(\.\d+)?Z"/g;

/**
 * The events of a filled ledger as the apiserver would have written them: those that were sent to it, and copies of them by
 * the rule of `fillLedger`, each later, with other auditIDs, about the same objects. Copy 0 is what was sent.
 */
export interface CopiedEvents {
  /** What was sent, one event a line. */
  lines: string[];
  /** The file that holds these lines. */
  file: string;
  /** How many there are beside copy 0. */
  copies: number;
  /** In all copies together. */
  events: number;
  /** Milliseconds: when copy 0 begins, and how long it takes. */
  since: number;
  spanMs: number;
}

/**
 * The same events as a ledger has that holds so many.
 * @throws Error where the ledger's number is no multiple of what was sent
 */
export function copiedEvents(traffic: Traffic, sessions: number, file: string, events: number): CopiedEvents {
  const lines = Array.from({ length: sessions }, (_, n) => traffic.session(n)).flat();
  if (events % lines.length !== 0)
    throw new Error(
      `the ledger holds ${events} events, no multiple of the ${lines.length} that are sent to it`,
    );
  let [since, until] = [Number.POSITIVE_INFINITY, 0];
  for (const line of lines) {
    const at = Date.parse(/"requestReceivedTimestamp":"([^"]+)"/.exec(line)![1]!);
    since = Math.min(since, at);
    until = Math.max(until, at);
  }
  return { lines, file, copies: events / lines.length - 1, events, since, spanMs: until - since };
}

/** The auditID of an event's copy. */
export function copiedAuditID(auditID: string, copy: number): string {
  return copy === 0 ? auditID : `${auditID}-${copy}`;
}

/** The lines of one copy. */
export function* linesOfCopy({ lines }: CopiedEvents, copy: number): Generator<string> {
  const times = new Map<string, string>();
  for (const line of lines)
    yield line
      .replace(AUDIT_ID, (_all, auditID: string) => `"auditID":"${copiedAuditID(auditID, copy)}"`)
      .replace(
        TIMES,
        (_all, name: string, second: string, fraction = '') =>
          `"${name}":"${shifted(times, second, copy * STEP_SECONDS)}${fraction}Z"`,
      );
}

/** Thrown where something can't be asked on this machine; the message says why. */
export class NotRun extends Error {}

export const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(bytes < 1e9 ? 3 : 1)} GB`;

/** @throws NotRun where the disk under a folder doesn't have so many bytes and some to spare */
export async function assertRoom(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize - SPARE_BYTES;
  if (bytes > free)
    throw new NotRun(`needs ${gigabytes(bytes)} of disk, and ${gigabytes(Math.max(0, free))} are left to it`);
}
