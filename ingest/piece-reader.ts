/** A place where data could not be decompressed. What follows begins anew. */
export interface Damage {
  /** What is wrong, and where. */
  damage: string;
}

/** Decompressed bytes, or a gap between them. */
export type Piece = Buffer | Damage;

export function isDamage(piece: Piece): piece is Damage {
  return 'damage' in piece;
}

/** Reads pieces of at most a size, and lets the beginning be looked at. */
export class PieceReader {
  readonly #source: AsyncIterator<Piece>;
  #held: Buffer = Buffer.alloc(0);
  #gap: Damage | undefined;
  #ended = false;
  /** Bytes handed over. */
  position = 0;

  constructor(input: AsyncIterable<Piece>) {
    this.#source = input[Symbol.asyncIterator]();
  }

  async next(most = Number.POSITIVE_INFINITY): Promise<Piece | undefined> {
    // An empty piece is not the end.
    while (this.#held.length === 0 && !this.#gap && !this.#ended) await this.#fill();
    if (this.#held.length > 0) {
      const piece = this.#held.subarray(0, most);
      this.#held = this.#held.subarray(piece.length);
      this.position += piece.length;
      return piece;
    }
    const gap = this.#gap;
    this.#gap = undefined;
    return gap;
  }

  /** The next bytes, fewer only before a gap and at the end. */
  async peek(bytes: number): Promise<Buffer> {
    while (this.#held.length < bytes && !this.#gap && !this.#ended) await this.#fill();
    return this.#held;
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  /** Puts back the end of what `next` gave. */
  unread(bytes: Buffer): void {
    this.position -= bytes.length;
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([bytes, this.#held]);
  }

  async #fill(): Promise<void> {
    const { value, done } = await this.#source.next();
    if (done) this.#ended = true;
    else if (isDamage(value)) this.#gap = value;
    else this.#held = this.#held.length === 0 ? value : Buffer.concat([this.#held, value]);
  }
}
