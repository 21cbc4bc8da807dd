import { MAX_DEPTH } from '../../core/decode.js';
import { CarriedBytes } from './carried-bytes.js';

/** One item cut out of a body, or what is wrong with it. `bytes` is only valid until the next push. */
export interface Item {
  bytes: Buffer;
  problem?: 'too_large' | 'too_deep' | 'unterminated' | 'not_an_object';
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/** How much of an item that is too large is kept. */
const KEPT_OF_OVERSIZED = 64 * 1024;

type Mode = 'top' | 'head' | 'items' | 'item' | 'junk' | 'tail';

/**
 * Cuts an audit.k8s.io EventList into its items while it streams in, so that a body of any size needs the memory of
 * one item. A body of bare Events (one, or one a line) works too. Items are found by their brackets only: a broken
 * item with balanced brackets costs nothing but itself.
 */
export class EventListSplitter {
  readonly #maxItemBytes: number;
  #mode: Mode = 'top';
  readonly #carried = new CarriedBytes();
  #scanned = 0;
  #depth = 0;
  #deepest = 0;
  #inString = false;
  #oversized = false;
  #key = '';
  #atKey = true;
  #stringStart = -1;
  /** apiVersion of the list, once seen. Go writes it before the items. */
  apiVersion: string | undefined;
  kind: string | undefined;
  sawJson = false;
  sawItems = false;

  constructor(options: { maxItemBytes: number }) {
    this.#maxItemBytes = options.maxItemBytes;
  }

  /** Items completed by this chunk. */
  *push(chunk: Buffer): Generator<Item> {
    const data = this.#carried.followedBy(chunk);
    let i = this.#scanned;
    // Where the part begins that must be kept until it is whole: the item, or the list's head.
    let start = 0;
    while (i < data.length) {
      const mode = this.#mode;
      if (this.#inString) {
        i = this.#endOfString(data, i);
        if (this.#inString) break;
        if (mode === 'head' && this.#depth === 1) this.#headString(data, i);
        continue;
      }
      const byte = data[i]!;
      if (mode === 'item' || mode === 'head' || mode === 'tail') {
        if (byte === QUOTE) {
          this.#inString = true;
          this.#stringStart = i + 1;
        } else if (this.#depth === 1 && (byte === COMMA || byte === COLON)) {
          this.#atKey = byte === COMMA;
        } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
          if (mode === 'head' && this.#depth === 1 && byte === OPEN_BRACKET && this.#key === 'items') {
            this.#mode = 'items';
            this.sawItems = true;
          } else {
            this.#depth++;
            if (this.#depth > this.#deepest) this.#deepest = this.#depth;
          }
        } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
          this.#depth--;
          if (this.#depth === 0) {
            // An EventList whose items are null or absent is an empty one.
            const emptyList = mode === 'head' && this.kind === 'EventList';
            if (mode !== 'tail' && !emptyList) yield this.#finish(data.subarray(start, i + 1));
            this.#mode = mode === 'item' ? 'items' : 'top';
            start = i + 1;
          }
        }
        i++;
        continue;
      }
      i++;
      if (mode === 'top') {
        if (byte === OPEN_BRACE) {
          this.#begin('head');
          this.sawJson = true;
          start = i - 1;
        }
      } else if (mode === 'items') {
        if (byte === OPEN_BRACE) {
          this.#begin('item');
          start = i - 1;
        } else if (byte === CLOSE_BRACKET) {
          this.#mode = 'tail';
          this.#depth = 1;
        } else if (byte > 0x20 && byte !== COMMA) {
          this.#mode = 'junk';
          start = i - 1;
        }
      } else if (byte === COMMA || byte === CLOSE_BRACKET) {
        yield { bytes: data.subarray(start, i - 1), problem: 'not_an_object' };
        this.#mode = byte === COMMA ? 'items' : 'tail';
        this.#depth = 1;
      }
    }
    if (this.#mode === 'top' || this.#mode === 'items' || this.#mode === 'tail') start = data.length;
    const overshoot = Math.max(0, i - data.length);
    let end = data.length;
    if (end - start > (this.#oversized ? KEPT_OF_OVERSIZED : this.#maxItemBytes)) {
      this.#oversized = true;
      this.#stringStart = -1;
      end = Math.min(end, start + KEPT_OF_OVERSIZED);
    }
    if (this.#stringStart >= 0) this.#stringStart -= start;
    this.#carried.keep(data, start, end);
    this.#scanned = end - start + overshoot;
  }

  /** What was left when the body ended: an item that never closed. */
  end(): Item | undefined {
    const rest = this.#carried.bytes;
    const unfinished =
      this.#mode === 'item' || this.#mode === 'junk' || (this.#mode === 'head' && rest.length > 0);
    return unfinished ? { bytes: rest, problem: 'unterminated' } : undefined;
  }

  #begin(mode: Mode): void {
    this.#mode = mode;
    this.#depth = 1;
    this.#deepest = 1;
    this.#oversized = false;
    this.#key = '';
    this.#atKey = true;
  }

  #finish(bytes: Buffer): Item {
    if (this.#oversized || bytes.length > this.#maxItemBytes)
      return { bytes: bytes.subarray(0, KEPT_OF_OVERSIZED), problem: 'too_large' };
    if (this.#deepest > MAX_DEPTH)
      return { bytes: bytes.subarray(0, KEPT_OF_OVERSIZED), problem: 'too_deep' };
    return { bytes };
  }

  /** The index after the closing quote, or data.length with the string still open. */
  #endOfString(data: Buffer, from: number): number {
    let i = from;
    while (i < data.length) {
      const byte = data[i]!;
      if (byte === BACKSLASH) {
        // At the chunk's end this passes its end: the scan goes on behind the escaped byte of the next chunk.
        i += 2;
        continue;
      }
      i++;
      if (byte === QUOTE) {
        this.#inString = false;
        return i;
      }
    }
    return i;
  }

  /** In the list's own object: remembers the last key, and the values that matter. */
  #headString(data: Buffer, end: number): void {
    if (this.#stringStart < 0) return;
    const text = data.toString('latin1', this.#stringStart, Math.min(end - 1, this.#stringStart + 100));
    if (this.#atKey) this.#key = text;
    else if (this.#key === 'apiVersion') this.apiVersion = text;
    else if (this.#key === 'kind') this.kind = text;
  }
}
