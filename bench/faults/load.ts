import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Traffic } from '../traffic.js';
import type { Replica } from './replica.js';

/** As long as client-go waits for an answer (webhook.go's default). */
const ANSWER_MS = 30_000;
const AGAIN_MS = 500;
/** client-go tries five times over some 81 to 94 seconds, and then drops the batch. */
export const APISERVER_PATIENCE_MS = 81_000;
/** Then something is broken for good. */
const GIVE_UP_MS = 300_000;
/** Posts under way; the generator waits beyond it, so that the load is bounded whatever happens. */
const MAX_UNDER_WAY = 24;

export interface LoadCounts {
  posted: number;
  acknowledged: number;
  /** Attempts that were answered by an error, and that got no answer. */
  refused: number;
  unanswered: number;
  /** From the first attempt to the acknowledgement, of the post that waited longest. */
  longestMs: number;
  beyondPatience: number;
}

/**
 * Posts generated sessions at a bounded rate, as an apiserver behind a load balancer: each batch to the next replica that
 * receives, and whatever is not acknowledged again, to another one. Generated batches are forgotten once acknowledged.
 */
export class Load {
  readonly #traffic: Traffic;
  readonly #replicas: readonly Replica[];
  readonly #token: string;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #underWay = new Set<Promise<void>>();
  #turn = 0;
  #running: Promise<void> | undefined;
  #stopped = false;
  /** Every session that was begun: the truth. */
  readonly sessions: number[] = [];
  #next: number;
  counts: LoadCounts = fresh();

  constructor(parts: { traffic: Traffic; replicas: readonly Replica[]; token: string; first: number }) {
    this.#traffic = parts.traffic;
    this.#replicas = parts.replicas.filter((replica) => replica.receives);
    this.#token = parts.token;
    this.#next = parts.first;
  }

  /** @param perSecond events; `batch` of them in a post */
  start(perSecond: number, batch: number): void {
    this.#stopped = false;
    this.counts = fresh();
    this.#running = this.#run(perSecond, batch);
    this.#running.catch(() => undefined);
  }

  /** Ends the session that was begun, and waits until all is acknowledged. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    await Promise.all(this.#underWay);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #run(perSecond: number, batch: number): Promise<void> {
    let due = performance.now();
    while (!this.#stopped) {
      const session = this.#next++;
      this.sessions.push(session);
      const lines = this.#traffic.session(session);
      for (let at = 0; at < lines.length; at += batch) {
        while (this.#underWay.size >= MAX_UNDER_WAY) await Promise.race(this.#underWay);
        const items = lines.slice(at, at + batch);
        const post = this.#deliver(bodyOf(items), items.length);
        this.#underWay.add(post);
        post.then(
          () => this.#underWay.delete(post),
          () => undefined,
        );
        // The end of a session isn't waited for at the set pace: it would only prolong the fault's aftermath.
        due = Math.max(due + (items.length / perSecond) * 1000, performance.now() - 1000);
        if (!this.#stopped) await sleep(Math.max(0, due - performance.now()));
      }
    }
  }

  async #deliver(body: Buffer, events: number): Promise<void> {
    const started = performance.now();
    this.counts.posted += events;
    let replica = this.#turn++;
    for (;;) {
      const status = await this.#post(this.#replicas[replica % this.#replicas.length]!, body);
      const waited = performance.now() - started;
      if (status === 200) {
        this.counts.acknowledged += events;
        this.counts.longestMs = Math.max(this.counts.longestMs, waited);
        if (waited > APISERVER_PATIENCE_MS) this.counts.beyondPatience++;
        return;
      }
      if (status === undefined) this.counts.unanswered++;
      else this.counts.refused++;
      if (waited > GIVE_UP_MS) throw new Error(`a batch was not acknowledged in ${GIVE_UP_MS / 1000} s`);
      await sleep(AGAIN_MS);
      replica++;
    }
  }

  #post(replica: Replica, body: Buffer): Promise<number | undefined> {
    return new Promise((resolve) => {
      const call = request(
        `${replica.http}/ingest/v1/audit/default?timeout=30s`,
        {
          method: 'POST',
          agent: this.#agent,
          signal: AbortSignal.timeout(ANSWER_MS),
          headers: {
            authorization: `Bearer ${this.#token}`,
            'content-type': 'application/json',
            'content-length': body.length,
          },
        },
        (response) => {
          response.on('error', () => resolve(undefined));
          response.resume().on('end', () => resolve(response.statusCode));
        },
      );
      call.on('error', () => resolve(undefined));
      call.end(body);
    });
  }
}

function fresh(): LoadCounts {
  return { posted: 0, acknowledged: 0, refused: 0, unanswered: 0, longestMs: 0, beyondPatience: 0 };
}

function bodyOf(items: string[]): Buffer {
  return Buffer.from(
    `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[${items.join(',')}]}`,
  );
}
