import {
  type AcceptedEvent,
  acceptItem,
  type Redaction,
  type Rejection,
  rejectText,
} from '../../core/accept.js';
import { EventListSplitter, type Item } from '../formats/event-list.js';
import type { Format } from '../formats/format.js';
import type { SkipReason } from '../formats/item.js';
import { FormatAcceptance } from './format-acceptance.js';

/** What a piece of a body gave. */
export interface Taken {
  accepted: AcceptedEvent[];
  rejections: Rejection[];
  /** Bytes of the items in it. */
  bytes: number;
  /** How many records are knowingly no audit events, by what they are. Absent where no format was asked for. */
  skipped?: Partial<Record<SkipReason, number>>;
  /** How many of the accepted are the leading fields of a record that was cut. */
  salvaged?: number;
  /**
   * Gives back the memory that the accepted events lie in, which nobody may look into afterwards. Absent where that is
   * the heap's own.
   */
  release?: () => void;
}

/** The rest of a body, once it has ended. */
export interface TakenLast extends Taken {
  /** The whole body held no item, and was no empty EventList either. */
  empty: boolean;
  /** Which format it was, where one was asked for or detected. */
  format?: Format | undefined;
}

/** What accepts one body in the calling thread. */
export interface Acceptor {
  push(chunk: Buffer): Taken;
  end(): TakenLast;
}

/**
 * Turns the pieces of one body into events: split, decoded, redacted. Pieces must be given one after another; one that
 * fails ends it, and it must be abandoned.
 */
export interface BodyAcceptance {
  /** Takes over the chunk, into which nobody may look afterwards. Spared a copy is one that has memory of its own. */
  push(chunk: Buffer): Promise<Taken>;
  end(): Promise<TakenLast>;
  /** Ends it without its rest: the body broke off, or was refused. */
  abandon(): void;
}

/** Where bodies are accepted: in this thread or in others. */
export interface Acceptances {
  /**
   * Without a format, an EventList or bare Events, as a webhook gets them. With one, an object of that format; its
   * push and end reject with WhochangedError `invalid_request` when `auto` finds none of the known formats.
   */
  open(format?: Format | 'auto'): BodyAcceptance;
  stop(): Promise<void>;
}

const PROBLEMS: Record<NonNullable<Item['problem']>, string> = {
  too_large: 'larger than the limit for one event; its beginning was kept, masked',
  too_deep: 'nested too deeply; its beginning was kept, masked',
  unterminated: 'the body ended in the middle of it',
  not_an_object: 'expected a JSON object',
};

export function openAcceptor(
  redaction: Redaction,
  maxItemBytes: number,
  format: Format | 'auto' | undefined,
): Acceptor {
  return format === undefined
    ? new LocalAcceptance(redaction, maxItemBytes)
    : new FormatAcceptance(redaction, maxItemBytes, format);
}

/** Accepts one body in the calling thread. */
export class LocalAcceptance implements Acceptor {
  readonly #redaction: Redaction;
  readonly #splitter: EventListSplitter;
  #items = 0;

  constructor(redaction: Redaction, maxItemBytes: number) {
    this.#redaction = redaction;
    this.#splitter = new EventListSplitter({ maxItemBytes });
  }

  push(chunk: Buffer): Taken {
    const taken: Taken = { accepted: [], rejections: [], bytes: 0 };
    for (const item of this.#splitter.push(chunk)) this.#take(item, taken);
    return taken;
  }

  end(): TakenLast {
    const taken: Taken = { accepted: [], rejections: [], bytes: 0 };
    const rest = this.#splitter.end();
    if (rest) this.#take(rest, taken);
    const empty = this.#items === 0 && this.#splitter.kind !== 'EventList' && !this.#splitter.sawItems;
    return { ...taken, empty };
  }

  #take(item: Item, taken: Taken): void {
    const at = `item ${this.#items++}`;
    taken.bytes += item.bytes.length;
    if (item.problem) {
      const detail = `${at}: ${PROBLEMS[item.problem]}`;
      taken.rejections.push(rejectText(item.problem, detail, item.bytes.toString('utf8'), this.#redaction));
      return;
    }
    const acceptance = acceptItem(item.bytes, this.#splitter.apiVersion, this.#redaction);
    if (acceptance.ok) taken.accepted.push(acceptance.accepted);
    else taken.rejections.push({ ...acceptance.rejection, detail: `${at}: ${acceptance.rejection.detail}` });
  }
}

/** Accepts bodies in the calling thread. */
export function localAcceptances(redaction: Redaction, maxItemBytes: number): Acceptances {
  return {
    open: (format) => {
      const acceptor = openAcceptor(redaction, maxItemBytes, format);
      return {
        push: async (chunk) => acceptor.push(chunk),
        end: async () => acceptor.end(),
        abandon: () => undefined,
      };
    },
    stop: async () => undefined,
  };
}
