import type { ClientBase } from 'pg';
import { WhochangedError } from '../../core/errors.js';
import { formatLeaf, type Leaf, lateLeaf } from '../../core/log/leaf.js';
import { consistencyRanges, inclusionRanges } from '../../core/log/merkle.js';
import { formatProofFile } from '../../core/log/proof-file.js';
import { hashRanges, tileKey } from '../../core/log/tiles.js';
import {
  CHECKPOINT_COLUMNS,
  type CheckpointRow,
  type StoredCheckpoint,
  storedCheckpoint,
} from './checkpoints.js';
import { tileLoader } from './sequence.js';

type Queryable = Pick<ClientBase, 'query'>;

/** Eight levels of the tree to a level of tiles: seven hold more leaves than numbers go. */
const LAST_TILE_LEVEL = 6;

/**
 * A record's place, the checkpoint, and every tile that a proof between them may need, by index alone: on each level the
 * tile over the leaf, and the one at the edge of the tree as it was signed.
 */
const proofQuery = (checkpoint: string) => `
  select p.index, p.late_at, c.*, t.level, t.index as tile, t.hashes
    from (select first_index + $3 - first_seq as index, (extract(epoch from late_at) * 1000000)::bigint as late_at
            from (select first_index, first_seq, count, late_at from log_runs
                   where type = $1 and cluster_id = $2 and first_seq <= $3 order by first_seq desc limit 1) r
           where $3 - first_seq < count) p
   cross join (${checkpoint}) c
   cross join generate_series(0, ${LAST_TILE_LEVEL}) as l (level)
   cross join lateral (
     select level, index, hashes from log_tiles
      where level = l.level and index in (p.index >> 8 * (l.level + 1), c.size >> 8 * (l.level + 1)) offset 0) t
   where p.index < c.size`;

const UNDER_LATEST = {
  name: 'log-proof',
  text: proofQuery(
    `select ${CHECKPOINT_COLUMNS} from log_checkpoints order by size desc, signed_at desc limit 1`,
  ),
};
const UNDER_GIVEN = { name: 'log-proof-under', text: proofQuery('select $4::bigint as size') };

interface ProofRow extends CheckpointRow {
  index: string;
  late_at: string | null;
  level: number;
  tile: string;
  hashes: Buffer;
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
 * Proves a record under the latest checkpoint, or under one that is given: several proofs are to fit together. One query.
 * Of a record that got its leaf later than it was made (`late-leaves.ts`) it is the late leaf that is proven.
 * @throws WhochangedError `conflict` while it has no place yet, or no checkpoint covers it
 */
export async function proveLeaf(
  client: Queryable,
  clusterID: number,
  leaf: Leaf,
  under?: StoredCheckpoint,
): Promise<Inclusion> {
  const key = [leaf.type, clusterID, leaf.seq];
  const { rows } = await client.query<ProofRow>(
    under ? { ...UNDER_GIVEN, values: [...key, under.size] } : { ...UNDER_LATEST, values: key },
  );
  const row = rows[0];
  if (!row)
    throw new WhochangedError('conflict', 'the record is not under a signed checkpoint yet', {
      hint: 'ask again in a minute: checkpoints are signed on a schedule',
      retryAfter: 60,
    });
  const index = Number(row.index);
  const checkpoint = under ?? storedCheckpoint(row);
  const tiles = new Map(
    rows.map(({ level, tile, hashes }) => [tileKey({ level, index: Number(tile) }), hashes]),
  );
  const hashes = await hashRanges(inclusionRanges(index, checkpoint.size), () => Promise.resolve(tiles));
  const text = formatLeaf(row.late_at === null ? leaf : lateLeaf(leaf, Number(row.late_at)));
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
