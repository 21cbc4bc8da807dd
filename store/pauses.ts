/** How long work may keep the event loop to itself, in milliseconds. */
const TURN_MS = 4;

/** Breaks long work into turns, between which sockets are read and written. */
export class Pauses {
  #since = performance.now();

  isDue(): boolean {
    return performance.now() - this.#since > TURN_MS;
  }

  async take(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
