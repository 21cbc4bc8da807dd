import type { ClientBase } from 'pg';
import { WhochangedError } from '../../core/errors.js';
import { formatLeaf, type Leaf, type LeafType } from '../../core/log/leaf.js';
import { consistencyRanges, inclusionRanges } from '../../core/log/merkle.js';
import { formatProofFile } from '../../core/log/proof-file.js';
import { hashRanges } from '../../core/log/tiles.js';
import { findLatestCheckpoint, type StoredCheckpoint } from './checkpoints.js';
import { tileLoader } from './sequence.js';

type Queryable = Pick<ClientBase, 'query'>;

/** The place of a record in the tree; undefined while it waits for one. */
export async function findPlace(
  client: Queryable,
  type: LeafType,
  clusterID: number,
  seq: number,
): Promise<number | undefined> {
  const { rows } = await client.query<{ first_index: string; first_seq: string; count: number }>({
    name: 'log-place',
    text: `select first_index, first_seq, count from log_runs
            where type = $1 and cluster_id = $2 and first_seq <= $3 order by first_seq desc limit 1`,
    values: [type, clusterID, seq],
  });
  const run = rows[0];
  if (!run) return undefined;
  const offset = seq - Number(run.first_seq);
  return offset < run.count ? Number(run.first_index) + offset : undefined;
}

/** An inclusion proof of a leaf under the latest checkpoint. */
export interface Inclusion {
  index: number;
  checkpoint: StoredCheckpoint;
  hashes: Buffer[];
  /** The leaf's text. */
  leaf: string;
  /** As a file of its own: c2sp.org/tlog-proof, the leaf in its extra line. */
  file: string;
}

/**
 * Proves a record under the latest checkpoint, or under one that is given: several proofs are to fit together.
 * @throws WhochangedError `conflict` while it has no place yet, or no checkpoint covers it
 */
export async function proveLeaf(
  client: Queryable,
  clusterID: number,
  leaf: Leaf,
  under?: StoredCheckpoint,
): Promise<Inclusion> {
  const index = await findPlace(client, leaf.type, clusterID, leaf.seq);
  const checkpoint = under ?? (await findLatestCheckpoint(client));
  if (index === undefined || !checkpoint || checkpoint.size <= index)
    throw new WhochangedError('conflict', 'the record is not under a signed checkpoint yet', {
      hint: 'ask again in a minute: checkpoints are signed on a schedule',
      retryAfter: 60,
    });
  const hashes = await hashRanges(inclusionRanges(index, checkpoint.size), tileLoader(client));
  const text = formatLeaf(leaf);
  const file = formatProofFile({
    extra: Buffer.from(text),
    index,
    hashes,
    checkpoint: checkpoint.note,
  });
  return { index, checkpoint, hashes, leaf: text, file };
}

/** The hashes that prove the tree of `first` leaves to be a beginning of the tree of `second`. Both within the log's size. */
export function proveConsistency(client: Queryable, first: number, second: number): Promise<Buffer[]> {
  return hashRanges(consistencyRanges(first, second), tileLoader(client));
}
