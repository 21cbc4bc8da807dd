import type { ClientBase } from 'pg';
import { type Leaf, type LeafType, lateLeaf, leafHash } from '../../core/log/leaf.js';
import { type ChangedTile, edgeOf, growTiles, type LoadTiles, tileKey } from '../../core/log/tiles.js';
import { unpackRecords } from './pending.js';

interface PendingRow {
  id: string;
  type: LeafType;
  cluster_id: number;
  first_seq: string;
  records: Buffer;
  /** Microseconds since the Unix epoch; null but for late leaves. */
  late_at: string | null;
}

/** Tiles of the stored tree; those that aren't there are left out. */
export function tileLoader(client: Pick<ClientBase, 'query'>): LoadTiles {
  return async (refs) => {
    if (refs.length === 0) return new Map();
    const { rows } = await client.query<{ level: number; index: string; hashes: Buffer }>({
      name: 'log-tiles',
      text: `select t.level, t.index, t.hashes from unnest($1::smallint[], $2::bigint[]) as r (level, index)
               join log_tiles t on t.level = r.level and t.index = r.index`,
      values: [refs.map((ref) => ref.level), refs.map((ref) => ref.index)],
    });
    return new Map(rows.map((row) => [tileKey({ level: row.level, index: Number(row.index) }), row.hashes]));
  };
}

export async function readLogSize(client: Pick<ClientBase, 'query'>): Promise<number> {
  const { rows } = await client.query<{ size: string }>('select size from log_size');
  return Number(rows[0]!.size);
}

/**
 * Gives waiting records their places in the tree, in one transaction: indices without gaps, in the order in which the
 * records were committed. Returns how many; 0 when none waits. One sequencer at a time, by the lock on log_size.
 */
export async function sequencePending(client: ClientBase, maxBatches: number): Promise<number> {
  await client.query('begin');
  try {
    const { rows: sizes } = await client.query<{ size: string }>('select size from log_size for update');
    const size = Number(sizes[0]!.size);
    const { rows } = await client.query<PendingRow>(
      `select id, type, cluster_id, first_seq, records, (extract(epoch from late_at) * 1000000)::bigint as late_at
         from log_pending order by id limit $1`,
      [maxBatches],
    );
    const names = await readNames(client, rows);
    const leaves: Buffer[] = [];
    const runs: Array<{ firstIndex: number; count: number; row: PendingRow }> = [];
    for (const row of rows) {
      const records = unpackRecords(row.records);
      runs.push({ firstIndex: size + leaves.length, count: records.length, row });
      for (const [i, record] of records.entries()) {
        const leaf: Leaf = {
          type: row.type,
          cluster: names.clusters.get(row.cluster_id) ?? '',
          origin: names.sources.get(record.originID) ?? '',
          seq: Number(row.first_seq) + i,
          at: record.at,
          digest: record.digest,
        };
        leaves.push(leafHash(row.late_at === null ? leaf : lateLeaf(leaf, Number(row.late_at))));
      }
    }
    if (leaves.length > 0) {
      const edge = await tileLoader(client)(edgeOf(size));
      await upsertTiles(client, growTiles(size, edge, leaves));
      await insertRuns(client, runs);
      await client.query('delete from log_pending where id = any($1::bigint[])', [rows.map((row) => row.id)]);
      await client.query('update log_size set size = $1', [size + leaves.length]);
    }
    await client.query('commit');
    return leaves.length;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** Names stand in leaves, since ids mean nothing outside this database; neither clusters nor sources can be renamed. */
async function readNames(
  client: ClientBase,
  rows: readonly PendingRow[],
): Promise<{ clusters: Map<number, string>; sources: Map<number, string> }> {
  if (rows.length === 0) return { clusters: new Map(), sources: new Map() };
  const clusters = await client.query<{ id: number; name: string }>('select id, name from clusters');
  const sources = await client.query<{ id: number; name: string }>('select id, name from sources');
  return {
    clusters: new Map(clusters.rows.map((row) => [row.id, row.name])),
    sources: new Map(sources.rows.map((row) => [row.id, row.name])),
  };
}

async function upsertTiles(client: ClientBase, tiles: readonly ChangedTile[]): Promise<void> {
  // The last state of a tile is the whole one.
  const last = [...new Map(tiles.map((tile) => [tileKey(tile), tile])).values()];
  await client.query(
    `insert into log_tiles (level, index, hashes) select * from unnest($1::smallint[], $2::bigint[], $3::bytea[])
     on conflict (level, index) do update set hashes = excluded.hashes`,
    [last.map((tile) => tile.level), last.map((tile) => tile.index), last.map((tile) => tile.hashes)],
  );
}

async function insertRuns(
  client: ClientBase,
  runs: ReadonlyArray<{ firstIndex: number; count: number; row: PendingRow }>,
): Promise<void> {
  await client.query(
    `insert into log_runs (first_index, count, type, cluster_id, first_seq, late_at)
     select first_index, count, type, cluster_id, first_seq, timestamptz 'epoch' + late_at * interval '1 microsecond'
       from unnest($1::bigint[], $2::integer[], $3::text[], $4::integer[], $5::bigint[], $6::bigint[])
              as r (first_index, count, type, cluster_id, first_seq, late_at)`,
    [
      runs.map((run) => run.firstIndex),
      runs.map((run) => run.count),
      runs.map((run) => run.row.type),
      runs.map((run) => run.row.cluster_id),
      runs.map((run) => run.row.first_seq),
      runs.map((run) => run.row.late_at),
    ],
  );
}
