import type { AcceptedEvent, Rejection } from '../core/accept.js';
import type { Taken } from './acceptance/acceptance.js';
import type { InFlight } from './in-flight.js';

/** What is read becomes durable in parts of this size, so that something huge needs little memory. */
const PART_BYTES = 2 * 1024 * 1024;
const PART_EVENTS = 2000;
/** Parts of one body or object on their way to becoming durable. */
const MAX_PENDING = 2;

export interface Part {
  accepted: AcceptedEvent[];
  rejections: Rejection[];
}

/**
 * One body or object on its way: the part that is being filled, and the parts that are becoming durable. What it holds
 * in memory counts against the bound on bytes in flight.
 */
export class Parts {
  readonly #inFlight: InFlight;
  readonly #makeDurable: (part: Part) => Promise<void>;
  readonly #pending: Array<Promise<void>> = [];
  #accepted: AcceptedEvent[] = [];
  #rejections: Rejection[] = [];
  #releases: Array<() => void> = [];
  #bytes = 0;
  #held = 0;

  constructor(inFlight: InFlight, makeDurable: (part: Part) => Promise<void>) {
    this.#inFlight = inFlight;
    this.#makeDurable = makeDurable;
  }

  /** Takes room for bytes that are about to be read. */
  async hold(bytes: number): Promise<void> {
    // Whoever waits for room must not sit on what could be durable already.
    if (!this.#inFlight.fits(bytes)) this.submit();
    await this.#inFlight.acquire(bytes);
    this.#held += bytes;
  }

  /** Adds what bytes gave, and waits while too much is becoming durable. */
  async add(taken: Taken): Promise<void> {
    for (const accepted of taken.accepted) this.#accepted.push(accepted);
    for (const rejection of taken.rejections) this.#rejections.push(rejection);
    if (taken.release) this.#releases.push(taken.release);
    this.#bytes += taken.bytes;
    if (this.#bytes >= PART_BYTES || this.#accepted.length >= PART_EVENTS) this.submit();
    while (this.#pending.length > MAX_PENDING) await this.#pending.shift();
  }

  reject(rejection: Rejection): void {
    this.#rejections.push(rejection);
  }

  /** Sends off what there is, if there is anything. */
  submit(): void {
    if (this.#accepted.length > 0 || this.#rejections.length > 0) {
      this.#send();
      return;
    }
    this.#inFlight.release(this.#held);
    this.#held = 0;
  }

  /** Sends off the last part, if there is nothing in it too, and waits until all is durable. */
  async finish(): Promise<void> {
    await this.settle();
    this.#send();
    await this.settle();
  }

  #send(): void {
    const held = this.#held;
    this.#held = 0;
    const pending = this.#sendPart().finally(() => this.#inFlight.release(held));
    // Awaited later: a failure meanwhile must not count as unhandled.
    pending.catch(() => undefined);
    this.#pending.push(pending);
  }

  async #sendPart(): Promise<void> {
    const releases = this.#releases;
    await this.#makeDurable(this.#take());
    // Not of what failed: something of it may still be on its way to Postgres.
    for (const release of releases) release();
  }

  #take(): Part {
    const part = { accepted: this.#accepted, rejections: this.#rejections };
    this.#accepted = [];
    this.#rejections = [];
    this.#releases = [];
    this.#bytes = 0;
    return part;
  }

  /** Waits until all that was sent off is durable. */
  async settle(): Promise<void> {
    while (this.#pending.length > 0) await this.#pending.shift();
  }

  /** It failed half way: what was sent off may still land, and a retry will find it there; the rest is let go. */
  async abandon(): Promise<void> {
    await Promise.allSettled(this.#pending);
    this.#take();
    this.#inFlight.release(this.#held);
    this.#held = 0;
  }
}
