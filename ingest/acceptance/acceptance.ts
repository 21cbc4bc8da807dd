import {
  type AcceptedEvent,
  acceptItem,
  type Redaction,
  type Rejection,
  rejectText,
} from '../../core/accept.js';
import { EventListSplitter, type Item } from '../formats/event-list.js';

/** What a piece of a body gave. */
export interface Taken {
  accepted: AcceptedEvent[];
  rejections: Rejection[];
  /** Bytes of the items in it. */
  bytes: number;
}

/** The rest of a body, once it has ended. */
export interface TakenLast extends Taken {
  /** The whole body held no item, and was no empty EventList either. */
  empty: boolean;
}

/** Turns the pieces of one body into events: split, decoded, redacted. Pieces must be given one after another. */
export interface BodyAcceptance {
  push(chunk: Buffer): Promise<Taken>;
  end(): Promise<TakenLast>;
  /** Ends it without its rest: the body broke off, or was refused. */
  abandon(): void;
}

/** Where bodies are accepted: in this thread or in others. */
export interface Acceptances {
  open(): BodyAcceptance;
  stop(): Promise<void>;
}

const PROBLEMS: Record<NonNullable<Item['problem']>, string> = {
  too_large: 'larger than the limit for one event; its beginning was kept, masked',
  too_deep: 'nested too deeply; its beginning was kept, masked',
  unterminated: 'the body ended in the middle of it',
  not_an_object: 'expected a JSON object',
};

/** Accepts one body in the calling thread. */
export class LocalAcceptance {
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
    open: () => {
      const local = new LocalAcceptance(redaction, maxItemBytes);
      return {
        push: async (chunk) => local.push(chunk),
        end: async () => local.end(),
        abandon: () => undefined,
      };
    },
    stop: async () => undefined,
  };
}
