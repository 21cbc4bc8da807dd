import { hashChildren, hashOfNodes, type LeafRange, type Node, nodesOfRange } from './merkle.js';

/** A tile holds this many hashes (c2sp.org/tlog-tiles): eight levels of the tree. */
export const TILE_WIDTH = 256;
const TILE_HEIGHT = 8;
const HASH_BYTES = 32;

/** Which tile: level 0 holds the hashes of leaves, level n + 1 the hashes of whole tiles of level n. */
export interface TileRef {
  level: number;
  index: number;
}

/** A tile's hashes, one behind the other: 32 bytes each, up to TILE_WIDTH of them. */
export type LoadTiles = (refs: TileRef[]) => Promise<Map<string, Uint8Array>>;

export function tileKey({ level, index }: TileRef): string {
  return `${level}/${index}`;
}

/** The tile that a node's hash is in, or is computed from. */
export function tileOfNode({ level, index }: Node): TileRef {
  const tileLevel = Math.floor(level / TILE_HEIGHT);
  const width = 2 ** (level % TILE_HEIGHT);
  return { level: tileLevel, index: Math.floor((index * width) / TILE_WIDTH) };
}

/** A node's hash from its tile. @throws RangeError when the tile doesn't reach so far */
export function nodeInTile({ level, index }: Node, tile: Uint8Array): Buffer {
  const width = 2 ** (level % TILE_HEIGHT);
  const first = (index * width) % TILE_WIDTH;
  if ((first + width) * HASH_BYTES > tile.length)
    throw new RangeError(`a tile of ${tile.length / HASH_BYTES} hashes lacks node ${level}/${index}`);
  let hashes: Uint8Array[] = [];
  for (let i = first; i < first + width; i++)
    hashes.push(tile.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  while (hashes.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i < hashes.length; i += 2) above.push(hashChildren(hashes[i]!, hashes[i + 1]!));
    hashes = above;
  }
  // A copy: whoever keeps one hash must not keep its tile.
  return Buffer.from(hashes[0]!);
}

/**
 * The hashes of ranges of leaves, with one look for all tiles that they need.
 * @throws RangeError when a tile is missing or too short: the log is damaged
 */
export async function hashRanges(ranges: readonly LeafRange[], load: LoadTiles): Promise<Buffer[]> {
  const parts = ranges.map(nodesOfRange);
  const refs = new Map<string, TileRef>();
  for (const node of parts.flat()) {
    const ref = tileOfNode(node);
    refs.set(tileKey(ref), ref);
  }
  const tiles = await load([...refs.values()]);
  return parts.map((nodes) =>
    hashOfNodes(
      nodes.map((node) => {
        const key = tileKey(tileOfNode(node));
        const tile = tiles.get(key);
        if (!tile) throw new RangeError(`tile ${key} is missing`);
        return nodeInTile(node, tile);
      }),
    ),
  );
}

/** A tile that grew. */
export interface ChangedTile extends TileRef {
  hashes: Buffer;
}

/**
 * The tiles after leaves were added to a log of `size` leaves. `edge` holds the partial tiles of the right edge
 * (edgeOf(size)); the answer holds each tile that changed, whole.
 */
export function growTiles(
  size: number,
  edge: ReadonlyMap<string, Uint8Array>,
  leafHashes: readonly Buffer[],
): ChangedTile[] {
  const changed: ChangedTile[] = [];
  let level = 0;
  let count = size;
  let added: readonly Buffer[] = leafHashes;
  while (added.length > 0) {
    const above: Buffer[] = [];
    let taken = 0;
    while (taken < added.length) {
      const at = count + taken;
      const index = Math.floor(at / TILE_WIDTH);
      const filled = at % TILE_WIDTH;
      const before = filled > 0 ? edge.get(tileKey({ level, index })) : new Uint8Array(0);
      if (!before || before.length < filled * HASH_BYTES)
        throw new RangeError(`tile ${level}/${index} lacks hashes that the log's size says are there`);
      const fresh = added.slice(taken, taken + TILE_WIDTH - filled);
      const hashes = Buffer.concat([before.subarray(0, filled * HASH_BYTES), ...fresh]);
      changed.push({ level, index, hashes });
      taken += fresh.length;
      if (filled + fresh.length === TILE_WIDTH) above.push(wholeTile(hashes));
    }
    count = Math.floor(count / TILE_WIDTH);
    added = above;
    level++;
  }
  return changed;
}

/** The partial tiles at the right edge of a log: what growTiles needs. */
export function edgeOf(size: number): TileRef[] {
  const refs: TileRef[] = [];
  let level = 0;
  for (let count = size; count > 0; count = Math.floor(count / TILE_WIDTH)) {
    if (count % TILE_WIDTH > 0) refs.push({ level, index: Math.floor(count / TILE_WIDTH) });
    level++;
  }
  return refs;
}

/** The hash above a full tile. */
function wholeTile(tile: Uint8Array): Buffer {
  const half = TILE_HEIGHT - 1;
  return hashChildren(
    nodeInTile({ level: half, index: 0 }, tile),
    nodeInTile({ level: half, index: 1 }, tile),
  );
}
