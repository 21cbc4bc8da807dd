import {
  event,
  type FormatDefinition,
  type FormatReader,
  isObject,
  type Loose,
  type ParsedRecord,
  problem,
  skipped,
  stringOf,
} from './format-reader.js';
import type { Item } from './item.js';
import { SplitTexts } from './split-texts.js';
import { looksLikeEvent, unwrap, type Wrapped } from './wrapped-event.js';

/** Where shippers put the line they read: Fluent Bit `log`, Fluentd and Vector `message`, journald `MESSAGE`. */
const LINES = ['log', 'message', 'msg', 'MESSAGE', 'body', 'event', 'record', 'original'] as const;

/** What shippers write beside it. */
const COMPANIONS = [
  ...['kubernetes', 'stream', 'logtag', 'time', 'date', 'tag', 'source_type', 'file', 'host', 'hostname'],
  ...['timestamp', '@timestamp', 'container_name', 'docker', 'log_file', 'filename', 'path'],
];

/** A line of a container's log as CRI runtimes write it (k8s.io/cri-api: time, stream, tag). */
const CRI = /^\d{4}-\d{2}-\d{2}T[\d:.]+(?:Z|[+-]\d{2}:\d{2}) (stdout|stderr) [FP](?:[^ ]*) /;
/** A line of Fluentd's out_file and out_s3 without a format of their own: time, tag and record, between tabs. */
const FLUENTD = /^\d{4}-\d{2}-\d{2}T[\d:.]+(?:Z|[+-]\d{2}:\d{2})\t[^\t]+\t/;

const MAX_WRAPPERS = 3;

/**
 * What Fluent Bit, Fluentd and Vector write around an audit log's lines, one record a line or in a list: the line in
 * `log` or `message`, as text (once or twice encoded) or taken apart into an object, beside `kubernetes`, `stream` and the
 * like (Fluent Bit manual, "Tail" and "Kubernetes"; Fluentd, "out_file"; Vector, "file" and "kubernetes_logs" sources).
 * Docker's json-file records and CRI's container logs are read too, for apiservers that log to their standard output.
 * A record whose fields are the Event's own, with the shipper's among them, is `audit-log`.
 */
export const logShipper: FormatDefinition = {
  claims: ({ type, text, prefix, value }) => {
    if (type === 'text') return CRI.test(text);
    if (CRI.test(prefix) || FLUENTD.test(prefix)) return true;
    if (!isObject(value)) return false;
    return (
      lineOf(value).found === 'event' ||
      (LINES.some((key) => key in value) && COMPANIONS.some((key) => key in value))
    );
  },
  open: ({ maxItemBytes }) => new LogShipperReader(maxItemBytes),
};

class LogShipperReader implements FormatReader {
  readonly #split: SplitTexts;

  constructor(maxItemBytes: number) {
    this.#split = new SplitTexts(maxItemBytes);
  }

  *read(record: ParsedRecord): Generator<Item> {
    const { stream, time, content } = this.#line(record);
    if (typeof content === 'string') {
      const continued = this.#split.continue(stream, content, record);
      if (continued) {
        yield* continued;
        return;
      }
    }
    const wrapped = isObject(record.value) && record.whole ? lineOf(record.value) : unwrap(content);
    if (wrapped.found === 'event' || wrapped.found === 'cut') yield* this.#split.flush(stream);
    if (wrapped.found === 'event') yield event(wrapped.value, record);
    else if (wrapped.found === 'cut' && looksLikeEvent(wrapped.text))
      yield* this.#split.hold(stream, wrapped.text, time, record);
    else yield wrapped.found === 'deep' ? problem('too_deep', record) : skipped('other_log', record);
  }

  /** A container's line may be split by its runtime; a cut record of a shipper's own is no more than that. */
  *readCut(record: ParsedRecord): Generator<Item> {
    const cri = CRI.exec(record.prefix);
    if (!cri) yield problem('truncated_record', record);
    else if (looksLikeEvent(record.text))
      yield* this.#split.hold(cri[1]!, record.text, cri[0].split(' ', 1)[0], record);
    else yield skipped('other_log', record);
  }

  end(): Iterable<Item> {
    return this.#split.flush();
  }

  /** The line that a record carries, with what tells its stream. */
  #line({ type, text, prefix, value }: ParsedRecord): { stream: string; time: unknown; content: unknown } {
    const cri = CRI.exec(type === 'text' ? text : prefix);
    if (cri) {
      const time = cri[0].split(' ', 1)[0];
      return { stream: cri[1]!, time, content: type === 'text' ? text.slice(cri[0].length) : value };
    }
    if (!isObject(value)) return { stream: '', time: undefined, content: text };
    const kubernetes = isObject(value.kubernetes) ? value.kubernetes : {};
    const parts = [value.stream, value.file, value.host, kubernetes.pod_name, kubernetes.container_name];
    const key = LINES.find((name) => typeof value[name] === 'string');
    return {
      stream: parts.map((part) => stringOf(part) ?? '').join('\n'),
      time: value.time ?? value.timestamp ?? value['@timestamp'] ?? value.date,
      content: key && value[key],
    };
  }
}

/** The event in a record's line, through wrappers around wrappers. */
function lineOf(value: Loose, depth = 0): Wrapped {
  const whole = unwrap(value);
  if (whole.found === 'event') return whole;
  let lesser: Wrapped | undefined;
  for (const key of LINES) {
    if (!(key in value)) continue;
    const wrapped = unwrap(value[key]);
    if (wrapped.found === 'event') return wrapped;
    if (wrapped.found === 'cut' || wrapped.found === 'deep') lesser ??= wrapped;
    if (wrapped.found === 'other' && isObject(wrapped.value) && depth < MAX_WRAPPERS) {
      const inner = lineOf(wrapped.value, depth + 1);
      if (inner.found === 'event') return inner;
      if (inner.found !== 'text') lesser ??= inner;
    }
  }
  return lesser ?? { found: 'text' };
}
