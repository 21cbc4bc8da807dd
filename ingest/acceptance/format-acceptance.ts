import { acceptValue, type Redaction, rejectText } from '../../core/accept.js';
import { type Format, openSplitter, type Splitter } from '../formats/format.js';
import type { EventItem, Item, Problem } from '../formats/item.js';
import type { Taken, TakenLast } from './acceptance.js';

const PROBLEMS: Record<Problem, string> = {
  too_large: 'larger than the limit for one event; its beginning was kept, masked',
  too_deep: 'nested too deeply; its beginning was kept, masked',
  unterminated: 'the object ended in the middle of it',
  not_an_object: 'expected a JSON object',
  not_json: 'not valid JSON; its text was kept with every value masked',
  not_an_audit_event: 'neither an audit event nor anything known to stand among them in this format',
  truncated_record: 'the record was cut, and too little of the event was left; it was kept, masked',
  legacy_audit_line: 'a line of --audit-log-format=legacy; only JSON audit logs can be read',
};

/** Accepts one object of any known format in the calling thread. */
export class FormatAcceptance {
  readonly #redaction: Redaction;
  readonly #splitter: Splitter;

  constructor(redaction: Redaction, maxItemBytes: number, format: Format | 'auto') {
    this.#redaction = redaction;
    this.#splitter = openSplitter(format, { maxItemBytes });
  }

  push(chunk: Buffer): Taken {
    return this.#takeAll(this.#splitter.push(chunk));
  }

  end(): TakenLast {
    const taken = this.#takeAll(this.#splitter.end());
    return { ...taken, empty: this.#splitter.empty, format: this.#splitter.format };
  }

  #takeAll(items: Iterable<Item>): Taken {
    const taken: Taken = { accepted: [], rejections: [], bytes: 0, skipped: {}, salvaged: 0 };
    for (const item of items) this.#take(item, taken);
    return taken;
  }

  #take(item: Item, taken: Taken): void {
    taken.bytes += item.size;
    if (item.type === 'skipped') {
      taken.skipped![item.reason] = (taken.skipped![item.reason] ?? 0) + 1;
    } else if (item.type === 'problem') {
      const detail = `${item.place}: ${PROBLEMS[item.problem]}`;
      taken.rejections.push(rejectText(item.problem, detail, item.text, this.#redaction));
    } else {
      this.#takeEvent(item, taken);
    }
  }

  #takeEvent(item: EventItem, taken: Taken): void {
    const { value, size, apiVersion, place } = item;
    const acceptance = acceptValue(value, size, apiVersion, this.#redaction);
    if (acceptance.ok) {
      taken.accepted.push(acceptance.accepted);
      if (item.salvaged) taken.salvaged = (taken.salvaged ?? 0) + 1;
    } else {
      const { rejection } = acceptance;
      taken.rejections.push({ ...rejection, detail: `${place}: ${rejection.detail}` });
    }
  }
}
