import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import { Registry } from 'prom-client';
import type { Alerts } from '../../../core/alerts/read-alerts.js';
import { deliverAlertsJob } from '../../../jobs/alerts/deliver-alerts.js';
import { createAlertMetrics } from '../../../jobs/alerts/metrics.js';
import { raiseAlertsJob } from '../../../jobs/alerts/raise-alerts.js';
import type { Job } from '../../../jobs/job.js';
import { readAlertsText } from '../../../store/alerts/alerts-text.js';
import { START } from '../recorded-cluster.js';

/** A while after what RecordedCluster records. */
export const SOON = new Date(START / 1000 + 30 * 60_000);

/** Both jobs over a database, by a file of rules. */
export class Alerting {
  readonly registry = new Registry();
  /** Everything that was logged. */
  logged = '';
  readonly #pool: Pool;
  readonly #raise: Job;
  readonly #deliver: Job;
  #alerts: Alerts;

  constructor(pool: Pool, text: string, environment: NodeJS.ProcessEnv = {}) {
    this.#pool = pool;
    this.#alerts = readAlertsText(text, 'the file', () => '');
    const metrics = createAlertMetrics(this.registry);
    this.#raise = raiseAlertsJob({ alerts: () => this.#alerts, metrics, raised: () => undefined });
    this.#deliver = deliverAlertsJob({
      alerts: () => this.#alerts,
      credentials: { folder: '/nowhere', environment },
      metrics,
      pageURL: () => 'https://audit.example.com:8443',
    });
  }

  use(text: string): void {
    this.#alerts = readAlertsText(text, 'the file', () => '');
  }

  raise(now = SOON): Promise<number> {
    return this.run(this.#raise, now);
  }

  /** Delivers what is due by this machine's clock, some seconds on where told. */
  deliver(secondsOn = 0): Promise<number> {
    return this.run(this.#deliver, new Date(Date.now() + secondsOn * 1000));
  }

  async run(job: Job, now = SOON): Promise<number> {
    const client = await this.#pool.connect();
    const log = (fields: object, message: string) => {
      this.logged += `${message} ${JSON.stringify(fields)}\n`;
    };
    let failure: Error | undefined;
    try {
      const signal = new AbortController().signal;
      return (
        await job.runOnce({ client, now: () => now, log: { info: log, warn: log, error: log }, signal })
      ).rows;
    } catch (error) {
      failure = error as Error;
      throw error;
    } finally {
      client.release(failure);
    }
  }

  async rows<T = Record<string, unknown>>(text: string): Promise<T[]> {
    return (await this.#pool.query(text)).rows as T[];
  }
}

export interface Post {
  headers: IncomingMessage['headers'];
  body: string;
}

/** A receiver of posts, which answers as it is told. */
export class PostReceiver {
  readonly posts: Post[] = [];
  /** What happens before it answers. */
  meanwhile: () => Promise<unknown> = () => Promise.resolve();
  status = 200;
  #server: Server | undefined;
  #port = 0;

  /** Listens, on the port that it had before. */
  async up(): Promise<void> {
    this.#server = createServer((request, response) => void this.#take(request, response));
    await new Promise<void>((done) => this.#server!.listen(this.#port, '127.0.0.1', done));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/hook`;
  }

  async down(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
    await sleep(10);
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const piece of request.setEncoding('utf8')) body += piece;
    this.posts.push({ headers: request.headers, body });
    await this.meanwhile();
    response.writeHead(this.status).end('kept to itself');
  }
}
