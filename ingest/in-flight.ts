import { WhochangedError } from '../core/errors.js';

interface Waiter {
  bytes: number;
  resolve: () => void;
}

/**
 * Bounds the bytes that are received and not yet durable. A request that finds no room stops being read, which slows
 * its sender down through TCP; one that finds none for too long is refused before memory runs out.
 */
export class InFlight {
  readonly #maxBytes: number;
  readonly #maxWaitMs: number;
  readonly #maxWaiters: number;
  readonly #changed: (bytes: number) => void;
  #bytes = 0;
  #waiters: Waiter[] = [];

  constructor(options: {
    maxBytes: number;
    maxWaitMs: number;
    maxWaiters: number;
    onChange: (bytes: number) => void;
  }) {
    this.#maxBytes = options.maxBytes;
    this.#maxWaitMs = options.maxWaitMs;
    this.#maxWaiters = options.maxWaiters;
    this.#changed = options.onChange;
  }

  /** Whether bytes would fit at once. */
  fits(bytes: number): boolean {
    return this.#waiters.length === 0 && (this.#bytes === 0 || this.#bytes + bytes <= this.#maxBytes);
  }

  /**
   * Takes room for bytes, waiting in turn.
   * @throws WhochangedError `overloaded` after the longest wait
   */
  async acquire(bytes: number): Promise<void> {
    if (this.fits(bytes)) {
      this.#set(this.#bytes + bytes);
      return;
    }
    if (this.#waiters.length >= this.#maxWaiters) throw overloaded();
    let waiter: Waiter;
    let timer: NodeJS.Timeout | undefined;
    const room = new Promise<void>((resolve) => {
      waiter = { bytes, resolve };
      this.#waiters.push(waiter);
    });
    const tooLong = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(overloaded());
      }, this.#maxWaitMs);
    });
    try {
      await Promise.race([room, tooLong]);
    } finally {
      clearTimeout(timer);
    }
  }

  release(bytes: number): void {
    this.#set(this.#bytes - bytes);
    while (this.#waiters.length > 0) {
      const next = this.#waiters[0]!;
      if (this.#bytes > 0 && this.#bytes + next.bytes > this.#maxBytes) break;
      this.#waiters.shift();
      this.#set(this.#bytes + next.bytes);
      next.resolve();
    }
  }

  #set(bytes: number): void {
    this.#bytes = bytes;
    this.#changed(bytes);
  }
}

function overloaded(): WhochangedError {
  return new WhochangedError('overloaded', 'more events are waiting to become durable than fit in memory', {
    hint: 'the sender should try again; if this lasts, add a replica or look at whochanged_ingest_commit_seconds',
    retryAfter: 2,
  });
}
