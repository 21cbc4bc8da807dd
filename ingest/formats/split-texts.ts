import { event, type ParsedRecord } from './format-reader.js';
import type { Item } from './item.js';
import { looksLikeEvent, salvaged, unwrap } from './wrapped-event.js';

/** Streams that may have a cut text waiting at once: one for each apiserver that wrote into the object. */
const MAX_WAITING = 16;

interface Waiting {
  text: string;
  time: unknown;
  record: ParsedRecord;
  rest: ParsedRecord[];
  restText: string;
}

/**
 * Puts together texts that were split over several records of one stream (a container runtime splits lines at 16 KiB, and
 * what collects them may pass the pieces on). A text that is cut waits for what follows it in its stream; what completes
 * it gives the event unchanged, and if the next event comes first, its leading fields are salvaged.
 */
export class SplitTexts {
  readonly #maxBytes: number;
  readonly #waiting = new Map<string, Waiting>();
  #held = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Keeps a cut text of a stream until its rest comes. */
  *hold(stream: string, text: string, time: unknown, record: ParsedRecord): Generator<Item> {
    yield* this.flush(stream);
    while (
      this.#waiting.size >= MAX_WAITING ||
      (this.#waiting.size > 0 && this.#held + text.length > this.#maxBytes)
    )
      yield* this.flush(this.#waiting.keys().next().value!);
    this.#held += text.length;
    this.#waiting.set(stream, { text, time, record, rest: [], restText: '' });
  }

  /** Whether a text continues one that waits; if so, what that gave. */
  continue(stream: string, text: string, record: ParsedRecord): Item[] | undefined {
    const waiting = this.#waiting.get(stream);
    if (!waiting || looksLikeEvent(text)) return undefined;
    if (this.#held + text.length > this.#maxBytes) return [...this.flush(stream), fragment(text, record)];
    waiting.rest.push({ ...record, text });
    waiting.restText += text.replace(/\r?\n$/, '');
    this.#held += text.length;
    const joined = unwrap(waiting.text + waiting.restText);
    if (joined.found !== 'event') return [];
    this.#drop(stream, waiting);
    const size = waiting.rest.reduce((sum, part) => sum + part.size, waiting.record.size);
    return [event(joined.value, { ...waiting.record, size })];
  }

  /** Gives up waiting: for one stream, or for all. */
  *flush(stream?: string): Generator<Item> {
    for (const key of stream === undefined ? [...this.#waiting.keys()] : [stream]) {
      const waiting = this.#waiting.get(key);
      if (!waiting) continue;
      this.#drop(key, waiting);
      yield salvaged(waiting.text, waiting.time, waiting.record);
      for (const record of waiting.rest) yield fragment(record.text, record);
    }
  }

  #drop(stream: string, waiting: Waiting): void {
    this.#waiting.delete(stream);
    this.#held -= waiting.text.length + waiting.rest.reduce((sum, { text }) => sum + text.length, 0);
  }
}

function fragment(text: string, { size, place }: ParsedRecord): Item {
  return { type: 'problem', problem: 'truncated_record', text, size, place };
}
