import { ApiProblem } from './api.ts';

/** An answer that is waited for; the one before stays on show meanwhile. */
export class Asked<T> {
  answer = $state.raw<T>();
  problem = $state.raw<ApiProblem>();
  waiting = $state(false);
  #latest: AbortController | undefined;

  /** Asks anew. What an older question would still answer is dropped. */
  async ask(question: (signal: AbortSignal) => Promise<T>): Promise<void> {
    this.#latest?.abort();
    const mine = new AbortController();
    this.#latest = mine;
    this.waiting = true;
    try {
      const answer = await question(mine.signal);
      if (mine.signal.aborted) return;
      this.answer = answer;
      this.problem = undefined;
    } catch (error) {
      if (mine.signal.aborted) return;
      this.problem = error instanceof ApiProblem ? error : new ApiProblem(0, String(error));
    } finally {
      if (this.#latest === mine) this.waiting = false;
    }
  }
}
