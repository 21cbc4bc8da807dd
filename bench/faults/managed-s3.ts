import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { memoryOf, pause } from '../../test/harness/process-group.js';
import { CREDENTIALS } from '../../test/harness/s3.js';
import { startTcpProxy, type TcpProxy } from '../../test/harness/tcp-proxy.js';
import type { Traffic } from '../traffic.js';

const BUCKET = 'audit';
/** Events in an object. */
const OBJECT_EVENTS = 700;

/**
 * A bucket that audit logs are written to, behind a proxy. The server keeps its objects in memory, so one that was
 * killed is given them again when it comes back, as one with a disk would still have them.
 */
export class ManagedS3 {
  readonly bucket = BUCKET;
  readonly proxy: TcpProxy;
  readonly #traffic: Traffic;
  /** Sessions that lie in it. */
  readonly sessions: number[] = [];
  #next: number;
  #child: ChildProcess;
  #client: S3Client;
  #running: Promise<void> | undefined;
  #stopped = false;

  private constructor(child: ChildProcess, port: number, proxy: TcpProxy, traffic: Traffic, first: number) {
    this.#child = child;
    this.#client = clientOf(port);
    this.proxy = proxy;
    this.#traffic = traffic;
    this.#next = first;
  }

  static async start(traffic: Traffic, first: number): Promise<ManagedS3> {
    Object.assign(process.env, CREDENTIALS);
    const { child, port } = await spawnServer();
    const s3 = new ManagedS3(child, port, await startTcpProxy(port), traffic, first);
    await s3.#client.send(new CreateBucketCommand({ Bucket: BUCKET }));
    return s3;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.proxy.port}`;
  }

  /** Puts objects into the bucket, at a bounded rate of events, until `quiet`. */
  write(perSecond: number): void {
    this.#stopped = false;
    this.#running = (async () => {
      while (!this.#stopped) {
        const session = this.#next++;
        this.sessions.push(session);
        await this.#put(session);
        const pause = (this.#traffic.eventsPerSession / perSecond) * 1000;
        for (const until = Date.now() + pause; !this.#stopped && Date.now() < until; )
          await new Promise((done) => setTimeout(done, 50));
      }
    })();
    this.#running.catch(() => undefined);
  }

  async quiet(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** kill -9, and started again after `awayMs`. */
  async killAndRestart(awayMs: number): Promise<void> {
    // Whoever writes into it waits, and none of what it writes is half there.
    await this.quiet();
    this.#client.destroy();
    this.#child.kill('SIGKILL');
    await new Promise((done) => setTimeout(done, awayMs));
    const { child, port } = await spawnServer();
    this.#child = child;
    this.#client = clientOf(port);
    await this.#client.send(new CreateBucketCommand({ Bucket: BUCKET }));
    for (const session of this.sessions) await this.#put(session);
    this.proxy.target(port);
  }

  pause(): () => void {
    return pause(this.#child.pid!);
  }

  get rss(): number {
    return memoryOf(this.#child.pid!)?.rss ?? 0;
  }

  async stop(): Promise<void> {
    await this.quiet();
    this.#client.destroy();
    this.#child.kill('SIGKILL');
    await this.proxy.stop();
  }

  async #put(session: number): Promise<void> {
    const lines = this.#traffic.session(session);
    for (let at = 0; at < lines.length; at += OBJECT_EVENTS)
      await this.#client.send(
        new PutObjectCommand({
          Bucket: BUCKET,
          Key: `2026/03/02/${String(session).padStart(8, '0')}-${String(at).padStart(5, '0')}.gz`,
          Body: gzipSync(`${lines.slice(at, at + OBJECT_EVENTS).join('\n')}\n`),
        }),
      );
  }
}

/** Past the proxy: what writes into the bucket is no part of what is tested. */
function clientOf(port: number): S3Client {
  return new S3Client({ endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1', forcePathStyle: true });
}

async function spawnServer(): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(join(import.meta.dirname, 's3-server.ts'), { execArgv: ['--import', 'tsx'] });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve(message as number));
    child.once('exit', (code) => reject(new Error(`the S3 server ended with ${code}`)));
  });
  return { child, port };
}
