import { Worker, type WorkerOptions } from 'node:worker_threads';
import type { Logger } from 'pino';
import { WhochangedError } from '../../core/errors.js';
import type { Acceptances, BodyAcceptance, TakenLast } from './acceptance.js';
import { unpackTaken } from './message.js';
import type { FromThread, ThreadData, ToThread } from './thread.js';

/**
 * A thread's heap, in MiB. What accepting leaves behind lives as long as a post does: with 12 for the young, garbage of two
 * posts at once was moved to the old before it was found to be garbage, and looking for it took a fifth of the program's CPU;
 * with 32 it takes a tenth.
 */
const HEAP = { maxYoungGenerationSizeMb: 32, maxOldGenerationSizeMb: 256 };

/** How long a thread must have lasted to be replaced at once: one that can't start must not be started all the time. */
const MIN_LIFE_MS = 10_000;
const RESTART_MS = 5000;

interface Asked {
  resolve: (taken: TakenLast) => void;
  reject: (error: Error) => void;
}

/** One thread, with what it has been asked and not yet answered. */
class AcceptanceThread {
  readonly #worker: Worker;
  readonly #asked: Asked[] = [];
  #ended = false;

  constructor(data: ThreadData, onEnd: (thread: AcceptanceThread, error: Error | undefined) => void) {
    this.#worker = startWorker({ workerData: data, resourceLimits: HEAP });
    this.#worker.on('message', (answer: FromThread) => {
      const asked = this.#asked.shift()!;
      if (answer.ok) asked.resolve(unpackTaken(answer.taken));
      else if (answer.refusal) asked.reject(refused(answer.refusal));
      else asked.reject(failed(answer.message));
    });
    let failure: Error | undefined;
    this.#worker.on('error', (error) => (failure = error));
    this.#worker.on('exit', () => {
      this.#ended = true;
      for (const asked of this.#asked.splice(0)) asked.reject(failed('it ended'));
      onEnd(this, failure);
    });
  }

  get load(): number {
    return this.#asked.length;
  }

  ask(message: ToThread): Promise<TakenLast> {
    if (this.#ended) return Promise.reject(failed('it ended'));
    return new Promise((resolve, reject) => {
      this.#asked.push({ resolve, reject });
      this.#worker.postMessage(message, message.type === 'push' ? [message.chunk.buffer] : []);
    });
  }

  tell(message: ToThread): void {
    if (!this.#ended) this.#worker.postMessage(message);
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}

function startWorker(options: WorkerOptions): Worker {
  if (import.meta.url.endsWith('.js')) return new Worker(new URL('./thread.js', import.meta.url), options);
  // Run from the sources, in tests: a thread doesn't inherit the loader that the process was started with.
  const source = JSON.stringify(new URL('./thread.ts', import.meta.url).href);
  const code = `import('tsx/esm/api').then(({ register }) => { register(); return import(${source}); })`;
  return new Worker(code, { ...options, eval: true });
}

function failed(why: string): WhochangedError {
  return new WhochangedError('overloaded', `the thread that reads events failed: ${why}`, {
    hint: 'send the batch again',
    retryAfter: 1,
  });
}

function refused({ detail, hint }: { detail: string; hint: string | undefined }): WhochangedError {
  return new WhochangedError('invalid_request', detail, hint === undefined ? {} : { hint });
}

/**
 * Accepts bodies in threads of their own, so that decoding and redacting neither wait for the database's turns nor
 * hold up answers. A thread that dies takes its bodies with it, which their senders send again, and is replaced.
 */
export function threadedAcceptances(data: ThreadData, threads: number, log: Logger): Acceptances {
  let stopped = false;
  let bodies = 0;
  const running = new Set<AcceptanceThread>();
  const start = () => {
    if (stopped) return;
    const startedAt = performance.now();
    running.add(
      new AcceptanceThread(data, (thread, error) => {
        running.delete(thread);
        if (stopped) return;
        log.error({ err: error }, 'a thread that reads events ended; starting another');
        if (performance.now() - startedAt > MIN_LIFE_MS) start();
        else setTimeout(start, RESTART_MS).unref();
      }),
    );
  };
  for (let i = 0; i < threads; i++) start();
  return {
    open: (format) => {
      const thread = leastBusy(running);
      if (!thread) throw failed('it is being replaced');
      const body = bodies++;
      if (format !== undefined) thread.tell({ type: 'open', body, format });
      return openBody(thread, body);
    },
    stop: async () => {
      stopped = true;
      await Promise.all([...running].map((thread) => thread.stop()));
    },
  };
}

function leastBusy(threads: Iterable<AcceptanceThread>): AcceptanceThread | undefined {
  let best: AcceptanceThread | undefined;
  for (const thread of threads) if (!best || thread.load < best.load) best = thread;
  return best;
}

function openBody(thread: AcceptanceThread, body: number): BodyAcceptance {
  return {
    push: (chunk) => thread.ask({ type: 'push', body, chunk: ownMemory(chunk) }),
    end: () => thread.ask({ type: 'end', body }),
    abandon: () => thread.tell({ type: 'abandon', body }),
  };
}

/** The chunk itself where it is all that lies in its memory, which can then be handed over; else a copy. */
function ownMemory(chunk: Buffer): Uint8Array<ArrayBuffer> {
  return chunk.buffer instanceof ArrayBuffer && chunk.buffer.byteLength === chunk.length
    ? new Uint8Array(chunk.buffer)
    : new Uint8Array(chunk);
}
