import type { WhochangedError } from '../../core/errors.js';
import { leadingFields } from '../../core/leading-fields.js';
import { parseJson } from '../../core/parse-json.js';
import { aks } from './aks.js';
import { auditLog } from './audit-log.js';
import { cloudwatchExport } from './cloudwatch-export.js';
import { cloudwatchSubscription } from './cloudwatch-subscription.js';
import type { FormatDefinition, FormatReader, ParsedRecord } from './format-reader.js';
import { problem } from './format-reader.js';
import { gke } from './gke.js';
import type { Item } from './item.js';
import { logShipper } from './log-shipper.js';
import { ocsf } from './ocsf.js';
import { openshift } from './openshift.js';
import { type RawRecord, RecordReader } from './records.js';
import { storedEventList } from './stored-event-list.js';
import { unknownFormat, unreadableBytes } from './unknown-format.js';

/**
 * The wrappings in which audit events lie in files and objects; docs/formats.md describes each. In the order in which
 * they are looked for: a record may have the marks of several, and the first is the more telling.
 */
const DEFINITIONS = {
  'cloudwatch-subscription': cloudwatchSubscription,
  gke,
  ocsf,
  aks,
  openshift,
  'event-list': storedEventList,
  'cloudwatch-export': cloudwatchExport,
  'audit-log': auditLog,
  'log-shipper': logShipper,
} as const satisfies Record<string, FormatDefinition>;

export type Format = keyof typeof DEFINITIONS;
export const FORMATS = Object.keys(DEFINITIONS) as readonly Format[] as readonly [Format, ...Format[]];

/** Cuts one object into items while it streams in: its memory is that of one record, whatever the object's size. */
export interface Splitter {
  /**
   * The items that this chunk completed. The chunk may be reused afterwards.
   * @throws WhochangedError `invalid_request` when it is none of the known formats
   */
  push(chunk: Buffer): Iterable<Item>;
  /**
   * What was left when the object ended.
   * @throws WhochangedError `invalid_request` when it is none of the known formats
   */
  end(): Iterable<Item>;
  /** Nothing was in it: neither a record nor a list without any. Known after the end. */
  readonly empty: boolean;
  /** Which format it is: the one asked for, or the one detected, once it is. */
  readonly format: Format | undefined;
}

export interface SplitterOptions {
  /** A larger record is passed over and reported. Bytes. */
  maxItemBytes: number;
}

/** How many records, and how much of them, are kept while none tells the format. */
const MAX_UNKNOWN_RECORDS = 100;
const MAX_UNKNOWN_BYTES = 1024 * 1024;

/** Opens a splitter for one object. With `auto` the first record that has a format's marks decides. */
export function openSplitter(format: Format | 'auto', options: SplitterOptions): Splitter {
  return new FormatSplitter(format, options);
}

class FormatSplitter implements Splitter {
  readonly #options: SplitterOptions;
  readonly #records: RecordReader;
  #reader: FormatReader | undefined;
  #format: Format | undefined;
  #unknown: Array<{ record: ParsedRecord; problem: RawRecord['problem'] }> = [];
  #unknownBytes = 0;
  #count = 0;
  #started = false;

  constructor(format: Format | 'auto', options: SplitterOptions) {
    this.#options = options;
    this.#records = new RecordReader({ maxRecordBytes: options.maxItemBytes });
    if (format !== 'auto') this.#choose(format);
  }

  get empty(): boolean {
    return this.#count === 0 && !this.#records.sawList;
  }

  get format(): Format | undefined {
    return this.#format;
  }

  *push(chunk: Buffer): Generator<Item> {
    if (!this.#started && chunk.length > 0) {
      this.#started = true;
      const refusal = unreadableBytes(chunk);
      if (refusal) throw refusal;
    }
    for (const raw of this.#records.push(chunk)) yield* this.#take(raw);
  }

  *end(): Generator<Item> {
    const rest = this.#records.end();
    if (rest) yield* this.#take(rest);
    if (this.#reader) yield* this.#reader.end?.() ?? [];
    else if (this.#unknown.length > 0) throw this.#refuse();
  }

  *#take(raw: RawRecord): Generator<Item> {
    const record = parse(raw, ++this.#count);
    if (!this.#reader) {
      const format = FORMATS.find((name) => DEFINITIONS[name].claims(record));
      if (format === undefined) {
        this.#unknown.push({ record, problem: raw.problem });
        this.#unknownBytes += record.size;
        if (this.#unknown.length > MAX_UNKNOWN_RECORDS || this.#unknownBytes > MAX_UNKNOWN_BYTES)
          throw this.#refuse();
        return;
      }
      this.#choose(format);
      for (const earlier of this.#unknown.splice(0)) yield* this.#read(earlier.record, earlier.problem);
    }
    yield* this.#read(record, raw.problem);
  }

  *#read(record: ParsedRecord, found: RawRecord['problem']): Iterable<Item> {
    const reader = this.#reader!;
    if (found === 'cut') yield* reader.readCut?.(record) ?? [problem('truncated_record', record)];
    else if (found !== undefined) yield problem(found, record);
    else if (record.type === 'json' && !record.whole) yield problem('not_json', record);
    else yield* reader.read(record);
  }

  #choose(format: Format): void {
    this.#format = format;
    this.#reader = DEFINITIONS[format].open(this.#options);
  }

  #refuse(): WhochangedError {
    return unknownFormat(
      this.#unknown.map(({ record }) => record),
      FORMATS,
    );
  }
}

function parse(raw: RawRecord, number: number): ParsedRecord {
  const text = raw.bytes.toString('utf8');
  const { type, prefix, list, head } = raw;
  const place = `record ${number}`;
  const common = { type, text, prefix, list, head, place, size: raw.bytes.length };
  if (type === 'text') return { ...common, value: undefined, whole: false };
  if (raw.problem === undefined) {
    try {
      return { ...common, value: parseJson(text), whole: true };
    } catch {
      // Its marks may still tell the format.
    }
  }
  return { ...common, value: leadingFields(text).fields, whole: false };
}
