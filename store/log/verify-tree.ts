import type { ClientBase } from 'pg';
import { type Checkpoint, parseCheckpoint } from '../../core/log/checkpoint.js';
import { EMPTY_ROOT } from '../../core/log/merkle.js';
import { NoteError, type VerifierKey, verifiedBy } from '../../core/log/note.js';
import { growTiles, hashRanges, type LoadTiles, TILE_WIDTH, tileKey } from '../../core/log/tiles.js';
import { readLogSize } from './sequence.js';

/** What was found about the tree and its checkpoints. */
export interface TreeVerdict {
  size: number;
  checkpoints: number;
  /** The newest checkpoint that holds. */
  provenSize: number;
  problems: string[];
}

const TILES = 256;
/** What a time server may take a clock back at once. */
const CLOCK_STEP_MS = 300_000;

/**
 * Builds the tree anew from its stored leaf hashes and holds it against every signed checkpoint: those in the
 * database, and copies from elsewhere, which whoever altered the database couldn't reach. Names the first checkpoint
 * that doesn't fit, and with it between which leaves the log was altered or cut.
 */
export async function verifyTree(
  client: ClientBase,
  keys: readonly VerifierKey[],
  copies: readonly string[] = [],
): Promise<TreeVerdict> {
  const size = await readLogSize(client);
  const problems: string[] = [];
  const tree = await rebuild(client, size, problems);
  const { rows } = await client.query<{ note: string; size: string; root: Buffer }>(
    'select note, size, root from log_checkpoints order by size, signed_at',
  );
  const notes = [
    ...rows.map((row) => ({ note: row.note, where: 'database' })),
    ...copies.map((note) => ({ note, where: 'copy' })),
  ];
  const signed: Array<{ checkpoint: Checkpoint; where: string }> = [];
  for (const { note, where } of notes) {
    try {
      const parsed = parseCheckpoint(note);
      if (verifiedBy(parsed.note, keys).length === 0)
        problems.push(
          `the checkpoint of size ${parsed.checkpoint.size} (${where}) is signed by no trusted key`,
        );
      else signed.push({ checkpoint: parsed.checkpoint, where });
    } catch (error) {
      if (!(error instanceof NoteError)) throw error;
      problems.push(`a checkpoint (${where}) is not valid: ${error.message}`);
    }
  }
  signed.sort((a, b) => a.checkpoint.size - b.checkpoint.size);
  problems.push(...clockProblems(signed));
  let provenSize = 0;
  for (const { checkpoint, where } of signed) {
    if (checkpoint.size > size) {
      problems.push(
        `the log was cut: it has ${size} leaves, and a checkpoint (${where}) was signed over ${checkpoint.size}`,
      );
      break;
    }
    const root = await rootOf(checkpoint.size, tree);
    if (!root?.equals(checkpoint.root)) {
      problems.push(
        `leaves ${provenSize} to ${checkpoint.size - 1}: the log is not the one that was signed at size ${checkpoint.size} (${where})`,
      );
      break;
    }
    provenSize = checkpoint.size;
  }
  return { size, checkpoints: signed.length, provenSize, problems };
}

/** A log only grows, so a larger checkpoint that says an earlier time was signed by a clock that had been changed. */
function clockProblems(signed: ReadonlyArray<{ checkpoint: Checkpoint; where: string }>): string[] {
  const problems: string[] = [];
  let latest = 0;
  let latestSize = 0;
  for (const { checkpoint, where } of signed) {
    const line = checkpoint.extensions.find((text) => text.startsWith('time '));
    const time = Date.parse(line?.slice('time '.length) ?? '');
    if (Number.isNaN(time)) continue;
    if (time < latest - CLOCK_STEP_MS)
      problems.push(
        `the checkpoint of size ${checkpoint.size} (${where}) says ${new Date(time).toISOString()}, that of size ${latestSize} ${new Date(latest).toISOString()}: the clock was set back between them`,
      );
    if (time > latest) [latest, latestSize] = [time, checkpoint.size];
  }
  return problems;
}

async function rootOf(size: number, load: LoadTiles): Promise<Buffer | undefined> {
  if (size === 0) return EMPTY_ROOT;
  try {
    return (await hashRanges([{ start: 0, end: size }], load))[0];
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Upper tiles computed from the leaves, so that an altered upper tile deceives nobody; where one differs, that is told. */
async function rebuild(client: ClientBase, size: number, problems: string[]): Promise<LoadTiles> {
  const upper = new Map<string, Buffer>();
  const leafTile = async (from: number) => {
    const { rows } = await client.query<{ index: string; hashes: Buffer }>(
      'select index, hashes from log_tiles where level = 0 and index >= $1 order by index limit $2',
      [from, TILES],
    );
    return rows;
  };
  let built = 0;
  for (let index = 0; built < size; ) {
    const rows = await leafTile(index);
    if (rows.length === 0) break;
    for (const row of rows) {
      if (Number(row.index) !== index) break;
      const leaves: Buffer[] = [];
      for (let at = 0; at < row.hashes.length; at += 32) leaves.push(row.hashes.subarray(at, at + 32));
      for (const tile of growTiles(built, upper, leaves)) {
        if (tile.level > 0) upper.set(tileKey(tile), tile.hashes);
      }
      built += leaves.length;
      index++;
      if (leaves.length < TILE_WIDTH && built < size) break;
    }
    if (built < size && rows.length < TILES) break;
  }
  if (built !== size) problems.push(`the log says that it has ${size} leaves; hashes of ${built} are there`);
  for (const [key, hashes] of upper) {
    const [level, index] = key.split('/').map(Number) as [number, number];
    const { rows } = await client.query<{ hashes: Buffer }>(
      'select hashes from log_tiles where level = $1 and index = $2',
      [level, index],
    );
    if (!rows[0]?.hashes.equals(hashes)) problems.push(`tile ${key} is not what its leaves give`);
  }
  return async (refs) => {
    const found = new Map<string, Uint8Array>();
    for (const ref of refs) {
      const key = tileKey(ref);
      if (ref.level > 0) {
        const hashes = upper.get(key);
        if (hashes) found.set(key, hashes);
        continue;
      }
      const { rows } = await client.query<{ hashes: Buffer }>(
        'select hashes from log_tiles where level = 0 and index = $1',
        [ref.index],
      );
      if (rows[0]) found.set(key, rows[0].hashes);
    }
    return found;
  };
}
