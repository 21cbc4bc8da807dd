import type { ClientBase } from 'pg';
import type { AcceptedEvent } from '../core/accept.js';
import type { Stage } from '../core/audit-event.js';
import { formatMicros } from '../core/timestamp.js';
import { CHANGE_CLASSES, type EventClass } from '../core/vocabulary.js';

/** How far from a batch's times another use of its auditIDs is looked for, in microseconds. */
const REUSE_HORIZON = 86_400_000_000;

interface KnownRow {
  audit_id: string;
  request_id: string;
  stage: Stage;
  class: EventClass;
  digest: Buffer;
  source_id: number;
}

interface Copy {
  digest: Buffer;
  sourceID: number;
}

export interface FindingRow {
  kind: 'audit_id_reused' | 'conflicting_copies';
  at: number;
  subject: string;
  detail: Record<string, string>;
}

/**
 * What the store and the batch itself already hold under a batch's auditIDs. One look tells duplicates (same source
 * and digest), other stages of the same request, and auditIDs that stand on several requests.
 */
export class KnownEvents {
  readonly findings: FindingRow[] = [];
  readonly reusedAuditIDs = new Set<string>();
  readonly #digests = new Set<string>();
  readonly #requests = new Map<string, KnownRow[]>();
  /** The copies of each stage of a request, of all sources, in the order they came. */
  readonly #copies = new Map<string, Copy[]>();
  /** The requests that each auditID stands on, and whether the store has them. */
  readonly #auditIDs = new Map<string, Map<string, { stored: boolean }>>();
  /** Stored requests whose auditID was now seen on another one. */
  readonly reusedBefore = new Set<string>();

  add(row: KnownRow): void {
    this.#digests.add(`${row.source_id} ${row.digest.toString('hex')}`);
    const rows = this.#requests.get(row.request_id);
    if (rows) rows.push(row);
    else this.#requests.set(row.request_id, [row]);
    this.#addCopy(row.request_id, row.stage, { digest: row.digest, sourceID: row.source_id });
    this.#requestsOf(row.audit_id).set(row.request_id, { stored: true });
  }

  /** Whether an event is new to its source; the second time it's asked of equal events, it isn't. */
  isNew(sourceID: number, accepted: AcceptedEvent): boolean {
    const key = `${sourceID} ${accepted.digest.toString('hex')}`;
    if (this.#digests.has(key)) return false;
    this.#digests.add(key);
    this.#findConflicts(sourceID, accepted);
    return true;
  }

  #findConflicts(sourceID: number, accepted: AcceptedEvent): void {
    const { auditID, stage, requestID, requestReceivedTimestamp: at } = accepted;
    const requests = this.#requestsOf(auditID);
    for (const [other, { stored }] of requests) {
      if (other === requestID) continue;
      this.reusedAuditIDs.add(auditID);
      if (stored) this.reusedBefore.add(other);
      this.findings.push({
        kind: 'audit_id_reused',
        at,
        subject: `${auditID} ${requestID}`,
        detail: { auditID, request: requestID, otherRequest: other },
      });
    }
    if (!requests.has(requestID)) requests.set(requestID, { stored: false });
    const copy = { digest: accepted.digest, sourceID };
    const other = this.#addCopy(requestID, stage, copy).find(
      (earlier) => !earlier.digest.equals(copy.digest),
    );
    if (!other) return;
    this.findings.push({
      kind: 'conflicting_copies',
      at,
      subject: `${requestID} ${stage} ${accepted.digest.toString('hex')}`,
      detail: {
        auditID,
        request: requestID,
        stage,
        otherDigest: other.digest.toString('hex'),
        ...(other.sourceID !== sourceID && { source: String(sourceID), otherSource: String(other.sourceID) }),
      },
    });
  }

  /** Adds a copy, and returns those that were there before. */
  #addCopy(requestID: string, stage: Stage, copy: Copy): Copy[] {
    const key = `${requestID} ${stage}`;
    const copies = this.#copies.get(key);
    if (!copies) {
      this.#copies.set(key, [copy]);
      return [];
    }
    const before = [...copies];
    copies.push(copy);
    return before;
  }

  #requestsOf(auditID: string): Map<string, { stored: boolean }> {
    let requests = this.#auditIDs.get(auditID);
    if (!requests) {
      requests = new Map();
      this.#auditIDs.set(auditID, requests);
    }
    return requests;
  }

  #rows(accepted: AcceptedEvent): KnownRow[] {
    return this.#requests.get(accepted.requestID) ?? [];
  }

  /** The store has a stage of this request that says how it ended. */
  hasFinalStage(accepted: AcceptedEvent): boolean {
    return this.#rows(accepted).some((row) => row.stage === 'ResponseComplete' || row.stage === 'Panic');
  }

  hasOutcome(accepted: AcceptedEvent): boolean {
    return this.#rows(accepted).some((row) => row.class !== 'stage');
  }

  hasReceivedStage(accepted: AcceptedEvent): boolean {
    return this.#rows(accepted).some((row) => row.stage === 'RequestReceived');
  }

  /**
   * Another source, or a conflicting copy, has told of this request already, and it is known what it changed: one
   * request is one change.
   */
  isProjected(accepted: AcceptedEvent): boolean {
    const eventClass = this.classFromElsewhere(accepted);
    if (eventClass === undefined || accepted.stage === 'ResponseStarted') return false;
    return eventClass === 'no_op' || (CHANGE_CLASSES as readonly EventClass[]).includes(eventClass);
  }

  /** What the same stage of this request turned out to be when another source, or another copy, told of it. */
  classFromElsewhere(accepted: AcceptedEvent): EventClass | undefined {
    return this.#rows(accepted).find((row) => row.stage === accepted.stage)?.class;
  }

  /** The store may hold a change of this request: one that was started, or of unknown outcome. */
  mayHaveChange(accepted: AcceptedEvent): boolean {
    return this.#rows(accepted).length > 0;
  }
}

export async function findKnownEvents(
  client: ClientBase,
  clusterID: number,
  events: AcceptedEvent[],
): Promise<KnownEvents> {
  const known = new KnownEvents();
  if (events.length === 0) return known;
  const auditIDs = new Set<string>();
  let since = Number.POSITIVE_INFINITY;
  let until = 0;
  for (const { auditID, requestReceivedTimestamp } of events) {
    auditIDs.add(auditID);
    since = Math.min(since, requestReceivedTimestamp);
    until = Math.max(until, requestReceivedTimestamp);
  }
  const { rows } = await client.query<KnownRow>({
    name: 'known-events',
    // "offset 0" keeps it to one index probe for each auditID: a join would scan a day of events, as stale statistics
    // make that look cheap.
    text: `select e.* from unnest($2::text[]) as a (id)
            cross join lateral (
              select audit_id, request_id, stage, class, digest, source_id from events
               where cluster_id = $1 and hashtext(audit_id) = hashtext(a.id) and audit_id = a.id
                 and at >= $3 and at <= $4 offset 0) e`,
    values: [
      clusterID,
      [...auditIDs],
      formatMicros(Math.max(0, since - REUSE_HORIZON)),
      formatMicros(until + REUSE_HORIZON),
    ],
  });
  for (const row of rows) known.add(row);
  return known;
}
