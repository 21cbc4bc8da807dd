import { type Decoder, MAGIC_BYTES, nextStart, openDecoder, type Packing, packingOf } from './decoders.js';
import { findIntact, RecentBytes } from './intact-behind.js';
import { type Damage, isDamage, type Piece, PieceReader } from './piece-reader.js';

/** Firehose puts the gzip that CloudWatch Logs made into a gzip of its own. */
const MAX_LAYERS = 4;
/** zlib gives its output in pieces of this size; of the one in which it fails nothing is given. */
const OUTPUT_BYTES = 64 * 1024;
const CAREFUL_OUTPUT_BYTES = 1024;
/** How much of one input is read again behind damaged places: data made for it must not keep a decoder busy for ever. */
const MAX_REREAD_BYTES = 16 * 1024 * 1024;

/**
 * Decompresses by what the bytes are, whatever the name says: gzip (RFC 1952; several members, and gzip within gzip),
 * zstd (RFC 8878; several frames), anything else as it is. Damaged data is passed over up to the next member or frame.
 * In memory there is one slice and what it becomes.
 * @param careful loses less before a damaged place, and takes longer
 */
export async function* decompress(input: AsyncIterable<Buffer>, careful: boolean): AsyncGenerator<Piece> {
  yield* decodeLayer(input, careful ? CAREFUL_OUTPUT_BYTES : OUTPUT_BYTES, 0);
}

async function* decodeLayer(
  input: AsyncIterable<Piece>,
  outputBytes: number,
  layer: number,
): AsyncGenerator<Piece> {
  const reader = new PieceReader(input);
  try {
    const packing = layer < MAX_LAYERS ? packingOf(await reader.peek(MAGIC_BYTES)) : undefined;
    if (packing === undefined) {
      for (let piece = await reader.next(); piece !== undefined; piece = await reader.next()) yield piece;
      return;
    }
    const open = () => openDecoder(packing, outputBytes);
    yield* decodeLayer(decoded(reader, packing, open), outputBytes, layer + 1);
  } finally {
    await reader.close();
  }
}

async function* decoded(reader: PieceReader, packing: Packing, open: () => Decoder): AsyncGenerator<Piece> {
  let mayReread = MAX_REREAD_BYTES;
  for (let searching = false; !searching || (yield* findStart(reader, packing)); searching = true) {
    const decoder = open();
    const start = reader.position;
    const recent = new RecentBytes();
    let given = 0;
    let failure: string | undefined;
    let failedAt = start;
    try {
      for (;;) {
        const piece = await reader.next(decoder.sliceBytes);
        if (piece !== undefined && isDamage(piece)) {
          yield piece;
          break;
        }
        const at = reader.position - (piece?.length ?? 0);
        const result = piece === undefined ? await decoder.end() : await decoder.push(piece);
        for (const buffer of result.output) {
          given += buffer.length;
          yield buffer;
        }
        failure = result.failure;
        if (piece === undefined && failure === undefined) return;
        if (piece !== undefined) recent.add(piece);
        if (piece !== undefined && result.taken === undefined) continue;
        // On by one byte at least, or the same place would be found again.
        failedAt = Math.max(at + (result.taken ?? 0), start + 1);
        let intact: Buffer | undefined;
        if (failure !== undefined && mayReread > 0) {
          const window = recent.behind(start + 1, reader.position);
          mayReread -= window.length;
          intact = await findIntact(window, packing, open, piece === undefined);
        }
        if (intact) {
          reader.unread(intact);
        } else if (piece !== undefined) {
          reader.unread(piece.subarray(failedAt - at));
        }
        break;
      }
    } finally {
      decoder.close();
    }
    // A place that was found in damaged data, and is none after all, is not worth a word.
    if (failure !== undefined && (!searching || given > 0))
      yield { damage: `${packing}: ${failure}, near byte ${failedAt}` };
  }
}

/** Passes over bytes up to where a member or frame begins. */
async function* findStart(reader: PieceReader, packing: Packing): AsyncGenerator<Damage, boolean> {
  for (;;) {
    const head = await reader.peek(MAGIC_BYTES);
    if (head.length < MAGIC_BYTES) {
      // The end, or a gap in what this is decoded from: behind a gap the search goes on.
      const piece = await reader.next();
      if (piece === undefined) return false;
      if (isDamage(piece)) yield piece;
      continue;
    }
    const at = nextStart(head, packing);
    if (at === 0) return true;
    await reader.next(at < 0 ? head.length - MAGIC_BYTES + 1 : at);
  }
}
