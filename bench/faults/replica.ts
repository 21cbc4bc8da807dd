import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { memoryOf, pause } from '../../test/harness/process-group.js';
import { type RunningSystem, startSystem } from '../../test/harness/system.js';

export interface ReplicaOptions {
  name: string;
  /** Its own folder: data and spool. */
  folder: string;
  roles: string;
  httpPort: number;
  environment: Record<string, string>;
}

/** One whochanged process on ports that stay the same, which can be killed, paused, stopped and started again. */
export class Replica {
  readonly name: string;
  readonly roles: readonly string[];
  readonly http: string;
  readonly folder: string;
  readonly #options: ReplicaOptions;
  #system: RunningSystem | undefined;
  #resume: (() => void) | undefined;
  #peak = 0;
  #said = '';

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.name = options.name;
    this.roles = options.roles.split(',');
    this.http = `http://127.0.0.1:${options.httpPort}`;
    this.folder = options.folder;
  }

  get receives(): boolean {
    return this.roles.includes('ingest');
  }

  get spoolDir(): string {
    return this.#options.environment.WHOCHANGED_SPOOL_DIR ?? join(this.folder, 'spool');
  }

  get pid(): number | undefined {
    const child = this.#system?.child;
    return child && child.exitCode === null && child.signalCode === null ? child.pid : undefined;
  }

  /** The most memory that it took since its start, in MB. */
  get peak(): number {
    this.sample();
    return this.#peak;
  }

  /** What it logged, over all its starts. */
  get log(): string {
    return this.#said + (this.#system?.output() ?? '');
  }

  /** MB in RAM now. */
  sample(): number {
    const memory = this.pid === undefined ? undefined : memoryOf(this.pid);
    this.#peak = Math.max(this.#peak, memory?.peak ?? 0);
    return memory?.rss ?? 0;
  }

  /** @param more set for this run only */
  async start(more: Record<string, string> = {}): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o711 });
    this.#system = await startSystem(
      this.folder,
      {
        WHOCHANGED_ROLES: this.#options.roles,
        WHOCHANGED_HTTP_PORT: String(this.#options.httpPort),
        ...this.#options.environment,
        ...more,
      },
      'build',
    );
  }

  /** As an orchestrator does it: SIGTERM. Resolves once it has ended. */
  async stop(): Promise<void> {
    this.resume();
    this.sample();
    await this.#system?.stop();
    this.#keepLog();
  }

  async kill(): Promise<void> {
    this.sample();
    await this.#system?.kill();
    this.#keepLog();
  }

  pause(): void {
    if (this.pid !== undefined) this.#resume = pause(this.pid);
  }

  resume(): void {
    this.#resume?.();
    this.#resume = undefined;
  }

  /** A metric's value, added up over its labels. Undefined where it doesn't answer. */
  async metric(name: string, token: string): Promise<number | undefined> {
    try {
      const response = await fetch(`${this.http}/metrics`, {
        headers: { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(2000),
      });
      if (!response.ok) return undefined;
      const lines = (await response.text()).split('\n').filter((line) => line.startsWith(name));
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    } catch {
      return undefined;
    }
  }

  #keepLog(): void {
    this.#said = (this.#said + (this.#system?.output() ?? '')).slice(-1_000_000);
    this.#system = undefined;
  }
}
