/** Beyond this, memory is given back as soon as it isn't needed. */
const KEPT_CAPACITY = 1024 * 1024;

/**
 * What a splitter must keep of a chunk until more comes: the beginning of an item. The memory grows by doubling, so that
 * an item of any size is copied a few times, and not once for each chunk that it is made of.
 */
export class CarriedBytes {
  #memory: Buffer = Buffer.alloc(0);
  #length = 0;

  /** What is carried; valid until the next call of anything else. */
  get bytes(): Buffer {
    return this.#memory.subarray(0, this.#length);
  }

  /** What is carried, and the chunk behind it. Valid until `keep`, which must follow. */
  followedBy(chunk: Buffer): Buffer {
    if (this.#length === 0) return chunk;
    const needed = this.#length + chunk.length;
    if (needed > this.#memory.length) this.#resize(Math.max(needed, this.#memory.length * 2));
    chunk.copy(this.#memory, this.#length);
    return this.#memory.subarray(0, needed);
  }

  /** Carries a part of what `followedBy` gave. */
  keep(data: Buffer, start: number, end: number): void {
    const length = end - start;
    const own = data.buffer === this.#memory.buffer;
    if (!own && length > this.#memory.length) this.#memory = Buffer.allocUnsafeSlow(length);
    // Within the same memory it moves, however the two overlap.
    if (!own || start > 0) data.copy(this.#memory, 0, start, end);
    this.#length = length;
    if (this.#memory.length > KEPT_CAPACITY && length < KEPT_CAPACITY / 2) this.#resize(KEPT_CAPACITY);
  }

  #resize(bytes: number): void {
    const memory = Buffer.allocUnsafeSlow(bytes);
    this.#memory.copy(memory, 0, 0, this.#length);
    this.#memory = memory;
  }
}
