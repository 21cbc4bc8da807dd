import type { ClientBase } from 'pg';
import type { LeafType } from '../../core/log/leaf.js';

/** Bytes of one waiting record: origin, time, digest. */
export const RECORD_BYTES = 44;

/** A record that is to become a leaf. Its number is its place behind the batch's first. */
export interface PendingRecord {
  /** A source's id; 0 where there is none. */
  originID: number;
  /** Microseconds since the Unix epoch. */
  at: number;
  digest: Uint8Array;
}

/**
 * Hands records to the sequencer, within the transaction that writes them: they get their places in the tree a moment
 * later, and none can be left out. Record i has the number firstSeq + i. `lateAt` is given where they were stored long ago.
 */
export async function appendPending(
  client: ClientBase,
  type: LeafType,
  clusterID: number,
  firstSeq: number,
  records: readonly PendingRecord[],
  lateAt?: Date,
): Promise<void> {
  if (records.length === 0) return;
  await client.query({
    name: 'log-pending',
    text: 'insert into log_pending (type, cluster_id, first_seq, records, late_at) values ($1, $2, $3, $4, $5)',
    values: [type, clusterID, firstSeq, packRecords(records), lateAt],
  });
}

/** Records as `log_pending.records` holds them. */
export function packRecords(records: readonly PendingRecord[]): Buffer {
  const packed = Buffer.allocUnsafe(records.length * RECORD_BYTES);
  let at = 0;
  for (const record of records) {
    packed.writeUInt32BE(record.originID, at);
    packed.writeBigUInt64BE(BigInt(record.at), at + 4);
    packed.set(record.digest, at + 12);
    at += RECORD_BYTES;
  }
  return packed;
}

export function unpackRecords(packed: Buffer): PendingRecord[] {
  const records: PendingRecord[] = [];
  for (let at = 0; at < packed.length; at += RECORD_BYTES) {
    records.push({
      originID: packed.readUInt32BE(at),
      at: Number(packed.readBigUInt64BE(at + 4)),
      digest: packed.subarray(at + 12, at + RECORD_BYTES),
    });
  }
  return records;
}
