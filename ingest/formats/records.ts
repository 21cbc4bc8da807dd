import { MAX_DEPTH } from '../../core/decode.js';
import { CarriedBytes } from './carried-bytes.js';

/** One record as it stands in an object. `bytes` is only valid until the next one is asked for. */
export interface RawRecord {
  type: 'json' | 'text';
  bytes: Buffer;
  /** What stood before the JSON on its line. */
  prefix: string;
  /** The member of the object around it whose list it stood in; '' in a bare list; undefined where it stood alone. */
  list: string | undefined;
  /** The strings that the object around it had before its list. */
  head: Readonly<Record<string, string>>;
  /** `unterminated`: the object ended within it; `cut`: another record began within it. */
  problem?: 'too_large' | 'too_deep' | 'unterminated' | 'cut' | 'not_an_object';
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;
const NEWLINE = 0x0a;
/** The bytes of U+FEFF, which Azure writes before its files. */
const BYTE_ORDER_MARK = new Set([0xef, 0xbb, 0xbf]);

/** How much of a record that is too large is kept. */
const KEPT_OF_OVERSIZED = 64 * 1024;

/** Members whose list is taken apart: of an EventList, Azure's and CloudTrail-like files, CloudWatch's messages. */
const LISTS = new Set(['items', 'records', 'Records', 'logEvents']);

/** What may stand before the JSON on a line: a time, perhaps with a stream and a tag; or one word, as a host's name. */
const PREFIX = /^(?:\d{4}-\d{2}-\d{2}T[^\s"{}[\]]+[ \t]+(?:[^\s"{}[\]]+[ \t]+){0,3}|[^\s"{}[\]]+[ \t]+)$/;
const MAX_PREFIX = 512;

type Mode = 'between' | 'bracket' | 'text' | 'record' | 'items' | 'item' | 'junk' | 'tail';

/**
 * Cuts an object into records while it streams in: JSON objects one a line or without anything between them, in a list,
 * or in a known list of an object around them, and lines of text. It needs the memory of one record. Records are found
 * by their brackets; one that is broken off in the middle of a file ends where the next begins.
 */
export class RecordReader {
  readonly #maxRecordBytes: number;
  #mode: Mode = 'between';
  #inArray = false;
  readonly #carried = new CarriedBytes();
  #scanned = 0;
  #depth = 0;
  #deepest = 0;
  #inString = false;
  #escaped = false;
  #oversized = false;
  #prefix = '';
  #list: string | undefined;
  #head: Record<string, string> = {};
  #key = '';
  #atKey = true;
  #stringStart = -1;
  /** A list was seen, if only an empty one. */
  sawList = false;

  constructor(options: { maxRecordBytes: number }) {
    this.#maxRecordBytes = options.maxRecordBytes;
  }

  /** Records completed by this chunk. */
  *push(chunk: Buffer): Generator<RawRecord> {
    const data = this.#carried.followedBy(chunk);
    let i = this.#scanned;
    // Where the part begins that must be kept until it is whole.
    let start = 0;
    while (i < data.length) {
      if (this.#inString) {
        const end = this.#endOfString(data, i);
        if (end < data.length && data[end] === NEWLINE && this.#inString) {
          // JSON has no raw line end in a string: the record broke off here.
          this.#inString = false;
          if (this.#mode !== 'tail') yield this.#record(data.subarray(start, end), 'cut');
          this.#mode = this.#mode === 'item' ? 'items' : 'between';
          start = i = end + 1;
          continue;
        }
        i = end;
        if (this.#inString) break;
        if (this.#mode === 'record' && this.#depth === 1) this.#headString(data, i);
        continue;
      }
      const byte = data[i]!;
      const mode = this.#mode;
      if (mode === 'record' || mode === 'item' || mode === 'tail') {
        if (byte === QUOTE) {
          this.#inString = true;
          this.#stringStart = i + 1;
        } else if (byte === OPEN_BRACE && mode !== 'item' && !this.#inArray) {
          const cut = this.#brokenAt(data, start, i);
          if (cut >= 0) {
            if (mode === 'record') yield this.#record(data.subarray(start, cut), 'cut');
            this.#mode = 'between';
            start = i = cut;
            continue;
          }
          this.#deeper();
        } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
          if (mode === 'record' && this.#depth === 1 && byte === OPEN_BRACKET && LISTS.has(this.#key)) {
            this.#mode = 'items';
            this.#list = this.#key;
            this.sawList = true;
          } else {
            this.#deeper();
          }
        } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
          if (--this.#depth === 0) {
            if (mode !== 'tail') yield this.#record(data.subarray(start, i + 1));
            this.#mode = mode === 'item' ? 'items' : 'between';
            start = i + 1;
          }
        } else if (this.#depth === 1 && (byte === COMMA || byte === COLON)) {
          this.#atKey = byte === COMMA;
        } else if (byte === NEWLINE && mode === 'record' && this.#prefix !== '') {
          // What follows a prefix is one line.
          yield this.#record(data.subarray(start, i), 'cut');
          this.#mode = 'between';
          start = i + 1;
        }
        i++;
        continue;
      }
      i++;
      if (mode === 'between') {
        if (byte <= 0x20 || byte === COMMA || BYTE_ORDER_MARK.has(byte)) continue;
        start = i - 1;
        this.#prefix = '';
        this.#oversized = false;
        this.#deepest = 0;
        if (byte === OPEN_BRACE) this.#begin('record', this.#inArray ? '' : undefined);
        else if (byte === CLOSE_BRACKET && this.#inArray) this.#inArray = false;
        else if (this.#inArray) this.#mode = 'junk';
        else this.#mode = byte === OPEN_BRACKET ? 'bracket' : 'text';
      } else if (mode === 'bracket') {
        if (byte <= 0x20) continue;
        this.#inArray = byte === OPEN_BRACE || byte === CLOSE_BRACKET;
        this.sawList ||= this.#inArray;
        this.#mode = this.#inArray ? 'between' : 'text';
        i--;
      } else if (mode === 'text') {
        if (byte === NEWLINE) {
          yield this.#text(data.subarray(start, i - 1));
          this.#mode = 'between';
        } else if (byte === OPEN_BRACE && this.#takePrefix(data, start, i - 1)) {
          start = i - 1;
          this.#begin('record', undefined);
        }
      } else if (mode === 'items') {
        if (byte === OPEN_BRACE) {
          this.#begin('item', this.#list);
          start = i - 1;
        } else if (byte === CLOSE_BRACKET) {
          this.#mode = 'tail';
          this.#depth = 1;
        } else if (byte > 0x20 && byte !== COMMA) {
          this.#mode = 'junk';
          start = i - 1;
        }
      } else if (byte === COMMA || byte === CLOSE_BRACKET) {
        yield this.#record(data.subarray(start, i - 1), 'not_an_object');
        this.#depth = 1;
        if (this.#list === undefined || this.#list === '') {
          this.#mode = 'between';
          if (byte === CLOSE_BRACKET) this.#inArray = false;
        } else {
          this.#mode = byte === COMMA ? 'items' : 'tail';
        }
      }
    }
    if (this.#mode === 'between' || this.#mode === 'items' || this.#mode === 'tail') start = data.length;
    let end = data.length;
    if (end - start > (this.#oversized ? KEPT_OF_OVERSIZED : this.#maxRecordBytes)) {
      this.#oversized = true;
      this.#stringStart = -1;
      end = Math.min(end, start + KEPT_OF_OVERSIZED);
    }
    if (this.#stringStart >= 0) this.#stringStart -= start;
    this.#carried.keep(data, start, end);
    this.#scanned = end - start;
  }

  /** What was left when the object ended: a last line of text, a record that never closed, or the rest of a list. */
  end(): RawRecord | undefined {
    const mode = this.#mode;
    if (mode === 'text' || mode === 'bracket') return this.#text(this.#carried.bytes);
    const unfinished = mode !== 'between' && mode !== 'tail' ? true : this.#inArray;
    return unfinished ? this.#record(this.#carried.bytes, 'unterminated') : undefined;
  }

  #begin(mode: Mode, list: string | undefined): void {
    this.#mode = mode;
    this.#depth = 1;
    this.#deepest = 1;
    this.#oversized = false;
    this.#key = '';
    this.#atKey = true;
    if (mode === 'record') this.#head = {};
    this.#list = list;
  }

  #deeper(): void {
    if (++this.#depth > this.#deepest) this.#deepest = this.#depth;
  }

  #record(bytes: Buffer, problem?: RawRecord['problem']): RawRecord {
    const found = this.#oversized
      ? 'too_large'
      : (problem ?? (this.#deepest > MAX_DEPTH ? 'too_deep' : undefined));
    const record: RawRecord = {
      type: 'json',
      bytes: found === undefined || found === 'cut' ? bytes : bytes.subarray(0, KEPT_OF_OVERSIZED),
      prefix: this.#prefix,
      list: this.#list,
      head: this.#head,
    };
    return found === undefined ? record : { ...record, problem: found };
  }

  #text(bytes: Buffer): RawRecord {
    const oversized = this.#oversized;
    this.#oversized = false;
    const record: RawRecord = { type: 'text', bytes, prefix: '', list: undefined, head: {} };
    return oversized ? { ...record, problem: 'too_large' } : record;
  }

  /** Whether what stands before a brace on its line is a prefix; if so, it is kept. */
  #takePrefix(data: Buffer, start: number, brace: number): boolean {
    if (brace - start > MAX_PREFIX) return false;
    const text = data.toString('utf8', start, brace);
    if (!PREFIX.test(text)) return false;
    this.#prefix = text;
    return true;
  }

  /**
   * Where the record that began at `start` is broken off, if the brace at `brace` can't belong to it; else -1. In JSON an
   * object stands only behind a bracket, a comma or a colon. And where the first line end of a record has a brace right
   * behind it, the file has a record a line, and this line is cut: no printer breaks its first line there.
   */
  #brokenAt(data: Buffer, start: number, brace: number): number {
    let before = brace - 1;
    while (before > start && data[before]! <= 0x20) before--;
    // What stood before may have been let go.
    if (before < start || (this.#oversized && before < KEPT_OF_OVERSIZED)) return -1;
    const previous = data[before]!;
    if (previous <= 0x20) return -1;
    const lineStart = data[brace - 1] === NEWLINE;
    if (previous !== OPEN_BRACKET && previous !== COMMA && previous !== COLON)
      return previous !== OPEN_BRACE || lineStart ? brace : -1;
    const firstLine = lineStart && this.#mode === 'record' && !this.#oversized;
    return firstLine && data.indexOf(NEWLINE, start) === brace - 1 ? brace : -1;
  }

  /** The index after the closing quote; with the string still open, that of a raw line end or data.length. */
  #endOfString(data: Buffer, from: number): number {
    for (let i = from; i < data.length; i++) {
      const byte = data[i]!;
      if (byte === NEWLINE) {
        this.#escaped = false;
        return i;
      }
      if (this.#escaped) {
        this.#escaped = false;
      } else if (byte === BACKSLASH) {
        this.#escaped = true;
      } else if (byte === QUOTE) {
        this.#inString = false;
        return i + 1;
      }
    }
    return data.length;
  }

  /** In the object around a list: remembers the last key, and the strings. */
  #headString(data: Buffer, end: number): void {
    if (this.#stringStart < 0) return;
    const text = data.toString('utf8', this.#stringStart, Math.min(end - 1, this.#stringStart + 300));
    if (this.#atKey) this.#key = text;
    else if (Object.keys(this.#head).length < 16) this.#head[this.#key] = text;
  }
}
