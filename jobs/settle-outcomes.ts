import type { ClientBase } from 'pg';
import { changeKind } from '../core/change-kind.js';
import { classifyEvent } from '../core/classify.js';
import { CHANGE_CLASSES, type ChangeClass, type EventClass } from '../core/vocabulary.js';
import { writeOf } from '../core/write.js';
import { findClusterIDs } from '../store/attribution.js';
import { lockCluster } from '../store/cluster-lock.js';
import {
  appendUnknownOutcomes,
  closeRequests,
  findOverdueRequests,
  type OverdueRequest,
  removeRefutedOutcomes,
  type UnknownOutcome,
} from '../store/outcomes.js';
import type { Job, JobContext } from './job.js';
import { inTransaction } from './transaction.js';

/** The apiserver ends a request after 60 seconds by default, and sends its audit events after another 30 at most. */
const GRACE_SECONDS = 300;
const BATCH = 500;

/**
 * Makes changes of unknown outcome out of writes that the apiserver received and never told the end of: it crashed, or
 * the event was lost on its way. When the end is told after all, ingest puts the real change in the same place.
 */
export function settleOutcomesJob(): Job {
  return {
    name: 'settle-outcomes',
    schedule: '20 * * * * *',
    forAnyCluster: true,
    async runOnce(context) {
      let rows = 0;
      for (const clusterID of await findClusterIDs(context.client)) {
        rows += await refute(context, clusterID);
        let settled = BATCH;
        while (settled === BATCH && !context.signal.aborted) {
          settled = await settle(context, clusterID);
          rows += settled;
        }
      }
      return { rows };
    },
  };
}

function settle({ client, now }: JobContext, clusterID: number): Promise<number> {
  const receivedUntil = new Date(now().getTime() - GRACE_SECONDS * 1000);
  return underLock(client, clusterID, async () => {
    const overdue = await findOverdueRequests(client, clusterID, receivedUntil, GRACE_SECONDS, BATCH);
    await appendUnknownOutcomes(
      client,
      clusterID,
      overdue.filter((request) => !request.answered).flatMap((request) => unknownOutcome(request) ?? []),
    );
    await closeRequests(
      client,
      clusterID,
      overdue.map((request) => request.requestID),
    );
    return overdue.length;
  });
}

function refute({ client }: JobContext, clusterID: number): Promise<number> {
  return underLock(client, clusterID, () => removeRefutedOutcomes(client, clusterID));
}

/** Whatever ends a request meanwhile waits its turn, or has been committed by now. */
function underLock<T>(client: ClientBase, clusterID: number, work: () => Promise<T>): Promise<T> {
  return inTransaction(client, async () => {
    await lockCluster(client, clusterID);
    return work();
  });
}

/** Undefined for what would have been no change: a dry run, a review. */
function unknownOutcome({ event, requestID }: OverdueRequest): UnknownOutcome | undefined {
  // What it would have been, had it succeeded.
  const eventClass = classifyEvent({ ...event, stage: 'ResponseComplete' });
  if (!isChangeClass(eventClass)) return undefined;
  const write = writeOf(event, requestID, eventClass);
  return {
    requestID,
    class: eventClass,
    kind: changeKind(write, undefined),
    key: write.key,
    subresource: write.subresource,
    uid: write.uid,
    flags: event.impersonatedUser ? ['impersonated'] : [],
  };
}

function isChangeClass(eventClass: EventClass): eventClass is ChangeClass {
  return (CHANGE_CLASSES as readonly string[]).includes(eventClass);
}
