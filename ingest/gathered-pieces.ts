/** Pieces are handed on in this many bytes at least: each passing to a thread and back has its price. */
const ENOUGH_BYTES = 192 * 1024;

/** Small pieces of a body or an object on their way to be accepted, gathered to larger ones. */
export class GatheredPieces {
  #pieces: Buffer[] = [];
  #bytes = 0;

  /** Takes a piece, whose bytes must stay as they are until they are taken. Returns whether there are enough. */
  add(piece: Buffer): boolean {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    return this.#bytes >= ENOUGH_BYTES;
  }

  /** All that was gathered, as one in memory of its own; undefined where there is nothing. */
  take(): Buffer | undefined {
    if (this.#pieces.length === 0) return undefined;
    const whole = Buffer.allocUnsafeSlow(this.#bytes);
    let at = 0;
    for (const piece of this.#pieces) at += piece.copy(whole, at);
    this.#pieces = [];
    this.#bytes = 0;
    return whole;
  }
}
