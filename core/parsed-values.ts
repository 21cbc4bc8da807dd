import type { Json } from './audit-event.js';

/**
 * What a parsed value takes of V8's heap, in bytes, by the length of its JSON text. Measured with Node 20 on the bodies of
 * a recorded cluster (Pods, ReplicaSets, Deployments, roles): 1.7 to 2.1 bytes for each character, Secrets 1.1, and
 * what keeps any value at hand besides.
 */
export function heapBytes(textLength: number): number {
  return ENTRY_BYTES + 2 * textLength;
}
const ENTRY_BYTES = 300;

interface Kept<V> {
  value: V;
  bytes: number;
}

/**
 * Memory for values parsed of JSON, which any number of caches share: those that were needed last, up to so many bytes of
 * heap.
 */
export class ParsedValues<V = Json> {
  readonly #maxBytes: number;
  readonly #largest: number;
  #bytes = 0;
  readonly #parsed = new Map<string, Kept<V>>();

  /** @param share of all the memory that one value may take; a larger one isn't kept */
  constructor(maxBytes: number, share = 1 / 8) {
    this.#maxBytes = maxBytes;
    this.#largest = maxBytes * share;
  }

  get(key: string): V | undefined {
    const kept = this.#parsed.get(key);
    if (!kept) return undefined;
    this.#parsed.delete(key);
    this.#parsed.set(key, kept);
    return kept.value;
  }

  /** @param textLength of its JSON, in characters or bytes */
  put(key: string, value: V, textLength: number): void {
    const bytes = heapBytes(textLength);
    if (this.#parsed.has(key) || bytes > this.#largest) return;
    this.#parsed.set(key, { value, bytes });
    this.#bytes += bytes;
    for (const [oldest, kept] of this.#parsed) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#parsed.delete(oldest);
      this.#bytes -= kept.bytes;
    }
  }
}
