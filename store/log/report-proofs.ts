import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import { WhochangedError } from '../../core/errors.js';
import type { Report } from '../../core/report/report.js';
import { findAccessEvent } from '../access-events.js';
import { findErasedParts, withErased } from '../erasures.js';
import { findEvent, findRawEvent, recordOf } from '../queries/events.js';
import type { Database } from '../schema.js';
import { findEventOfRequest, findTerminalEvent } from './change-event.js';
import { findLatestCheckpoint, type StoredCheckpoint } from './checkpoints.js';
import { proveAccessEvent, proveEvent, proveVerdict } from './prove-records.js';
import { findVerdictRecord } from './verdict-records.js';

/** Questions are asked one after the other: a pool serves, and so does one connection. */
type Queries = Pick<Pool, 'query'>;

/** A file of a bundle: its path within, and its text. */
export interface BundleFile {
  name: string;
  content: string;
}

/**
 * The files by which an auditor checks a report without trusting the server: the report, the checkpoint, and of each row
 * that it tells (exceptions and sample) the event and the newest verdict, or the access event, with their inclusion proofs,
 * all under that one checkpoint. A row without a place under it yet is left out; whoever checks finds it missing.
 * @throws WhochangedError `conflict` before the first checkpoint
 */
export async function* reportProofs(
  { db, pool }: { db: Kysely<Database>; pool: Queries },
  report: Report,
): AsyncGenerator<BundleFile> {
  const checkpoint = await findLatestCheckpoint(pool);
  if (!checkpoint)
    throw new WhochangedError('conflict', 'no checkpoint has been signed yet', { retryAfter: 60 });
  yield { name: 'report.json', content: `${JSON.stringify(report, undefined, 1)}\n` };
  yield { name: 'checkpoint.txt', content: checkpoint.note };
  const ids = new Set([...report.exceptions, ...report.sample.rows].map(({ id }) => id));
  for (const id of [...ids].sort()) {
    const seq = /^access-(\d+)$/.exec(id)?.[1];
    if (seq !== undefined) yield* accessProofs(db, pool, seq, checkpoint);
    // Gaps and sources have no leaves.
    else if (REQUEST_ID.test(id)) yield* rowProofs(db, pool, id, checkpoint);
  }
}

const REQUEST_ID = /^[0-9a-f-]{36}$/;

async function* accessProofs(
  db: Kysely<Database>,
  pool: Queries,
  seq: string,
  checkpoint: StoredCheckpoint,
): AsyncGenerator<BundleFile> {
  const record = await findAccessEvent(db, seq);
  const proof = record && (await proven(proveAccessEvent(pool, Number(seq), record, checkpoint)));
  if (proof === undefined) return;
  yield { name: `access-${seq}/access.tlog-proof`, content: proof };
  yield { name: `access-${seq}/access.json`, content: `${JSON.stringify(record)}\n` };
}

async function* rowProofs(
  db: Kysely<Database>,
  pool: Queries,
  id: string,
  checkpoint: StoredCheckpoint,
): AsyncGenerator<BundleFile> {
  const eventID = (await findTerminalEvent(pool, id)) ?? (await findEventOfRequest(pool, id));
  const row = eventID === undefined ? undefined : await findEvent(db, eventID);
  if (row) {
    const proof = await proven(proveEvent(pool, row, checkpoint));
    if (proof !== undefined) {
      yield { name: `${id}/event.tlog-proof`, content: proof };
      // A body that was erased leaves the proof as it is: its digest stands in its place.
      const erased = await findErasedParts(pool, row);
      const { event, digestVerified } = await findRawEvent(db, row, erased);
      const record = withErased(recordOf(event), erased);
      if (digestVerified) yield { name: `${id}/event.json`, content: `${JSON.stringify(record)}\n` };
    }
  }
  const verdict = await findVerdictRecord(pool, id);
  if (!verdict) return;
  const proof = await proven(proveVerdict(pool, verdict, checkpoint));
  if (proof === undefined) return;
  yield { name: `${id}/verdict.tlog-proof`, content: proof };
  yield { name: `${id}/verdict.json`, content: `${JSON.stringify(verdict.record)}\n` };
}

/** The proof's file; undefined while the record has no place under the checkpoint. */
async function proven(proof: Promise<{ file: string }>): Promise<string | undefined> {
  try {
    return (await proof).file;
  } catch (error) {
    if (error instanceof WhochangedError && error.code === 'conflict') return undefined;
    throw error;
  }
}
