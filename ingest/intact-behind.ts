import { type Decoder, nextStart, type Packing } from './decoders.js';

/**
 * How far before the place where a decoder gives up the next member or frame is looked for: what follows one that was cut is
 * taken for its rest at first. zstd takes in a block of up to 128 KiB before it looks, zlib goes on to the end of a block.
 */
const LOOK_BACK_BYTES = 160 * 1024;
/** Places that are tried, from the last one on, and how many in a row may be none. */
const MAX_TRIALS = 256;
const MAX_MISSES = 3;
/** What all trials of one place may give. Data can be made that becomes a thousand times as much. */
const MAX_TRIAL_OUTPUT_BYTES = 256 * 1024 * 1024;

/** The last bytes that were handed to a decoder. */
export class RecentBytes {
  #pieces: Buffer[] = [];
  #bytes = 0;

  add(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    while (this.#bytes - this.#pieces[0]!.length >= LOOK_BACK_BYTES)
      this.#bytes -= this.#pieces.shift()!.length;
  }

  /** What is kept of them from a position on; `end` is that behind the last. */
  behind(position: number, end: number): Buffer {
    const all = Buffer.concat(this.#pieces);
    return all.subarray(Math.max(0, all.length - (end - position)));
  }
}

/**
 * The rest of a decoder's last bytes from the first member or frame on that was taken for a part of a damaged one before
 * it. Those that the decoder read well lead to the damaged place, so they are no better than it when they are tried.
 * @param ended nothing comes behind these bytes
 */
export async function findIntact(
  window: Buffer,
  packing: Packing,
  open: () => Decoder,
  ended: boolean,
): Promise<Buffer | undefined> {
  const starts: number[] = [];
  for (let at = nextStart(window, packing); at >= 0; at = nextStart(window, packing, at + 1)) starts.push(at);
  let found: Buffer | undefined;
  let misses = 0;
  const budget = { bytes: MAX_TRIAL_OUTPUT_BYTES };
  for (const at of starts.reverse().slice(0, MAX_TRIALS)) {
    const rest = window.subarray(at);
    if (await isIntact(rest, open(), ended, budget)) {
      found = rest;
      misses = 0;
    } else if (++misses > MAX_MISSES) break;
  }
  return found;
}

/** Whether nothing in these bytes is wrong, as far as they go. */
async function isIntact(
  bytes: Buffer,
  decoder: Decoder,
  ended: boolean,
  budget: { bytes: number },
): Promise<boolean> {
  try {
    for (let at = 0; at < bytes.length; at += decoder.sliceBytes) {
      const { output, failure, taken } = await decoder.push(bytes.subarray(at, at + decoder.sliceBytes));
      for (const piece of output) budget.bytes -= piece.length;
      if (budget.bytes < 0) return false;
      if (failure !== undefined) return false;
      // It is over, and something else follows.
      if (taken !== undefined) return true;
    }
    return !ended || (await decoder.end()).failure === undefined;
  } finally {
    decoder.close();
  }
}
