import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { type FetchReposOptions, fetchReposJob } from '../../../jobs/git/fetch-repos.js';
import { createGitMetrics } from '../../../jobs/git/metrics.js';
import { mirrorFolder } from '../../../jobs/git/mirror.js';
import type { JobLog } from '../../../jobs/job.js';
import { createTestDatabase, type TestDatabase } from '../../harness/database.js';

/** A database and a folder of mirrors, with the job run by hand. */
export class TestMirrors {
  readonly database: TestDatabase;
  readonly folder: string;
  readonly registry = new Registry();
  logged = '';
  /** Time goes on by a minute with every run, so that everything is due. */
  now = Date.UTC(2026, 2, 3);

  private readonly options: Partial<FetchReposOptions>;

  private constructor(database: TestDatabase, options: Partial<FetchReposOptions>) {
    this.database = database;
    this.options = options;
    this.folder = mkdtempSync(join(tmpdir(), 'whochanged-mirrors-'));
  }

  static async create(options: Partial<FetchReposOptions> = {}): Promise<TestMirrors> {
    return new TestMirrors(await createTestDatabase(), options);
  }

  async add(name: string, url: string, more: Record<string, string> = {}): Promise<number> {
    const columns = ['name', 'url', ...Object.keys(more)];
    const { rows } = await this.database.pool.query<{ id: number }>(
      `insert into repos (${columns.join(', ')}) values (${columns.map((_, i) => `$${i + 1}`).join(', ')}) returning id`,
      [name, url, ...Object.values(more)],
    );
    return rows[0]!.id;
  }

  mirror(repoID: number): string {
    return mirrorFolder(this.folder, repoID);
  }

  /** One run of the job; how many commits were new. */
  async fetch(
    options: Partial<FetchReposOptions> = {},
    signal = new AbortController().signal,
  ): Promise<number> {
    this.now += 3_600_000;
    const note = (fields: object, message: string) => {
      this.logged += `${message} ${JSON.stringify(fields)}\n`;
    };
    const log: JobLog = { info: note, warn: note, error: note };
    this.registry.clear();
    const job = fetchReposJob({
      gitDir: this.folder,
      protocols: ['file'],
      intervalSeconds: 60,
      timeoutSeconds: 60,
      credentials: { folder: this.folder, environment: {} },
      signers: { allowedSignersFile: undefined, keyringFile: undefined },
      redactText: (text) => text,
      metrics: createGitMetrics(this.registry),
      ...this.options,
      ...options,
    });
    const client = await this.database.pool.connect();
    try {
      return (await job.runOnce({ client, now: () => new Date(this.now), log, signal })).rows;
    } finally {
      client.release();
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: tests look into rows of every shape
  async rows(sql: string, values: unknown[] = []): Promise<any[]> {
    return (await this.database.pool.query(sql, values)).rows;
  }

  /** Forgets every repository. */
  async clear(): Promise<void> {
    await this.rows('truncate repos, refs, ref_updates, commits, commit_paths, repo_findings, renderings');
    this.logged = '';
  }

  async remove(): Promise<void> {
    await this.database.drop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
