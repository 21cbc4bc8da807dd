import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { expect } from 'vitest';
import { findGapsJob } from '../../../jobs/completeness/find-gaps.js';
import { createCompletenessMetrics } from '../../../jobs/completeness/metrics.js';
import { sampleCountersJob } from '../../../jobs/completeness/sample-counters.js';
import { writeCanariesJob } from '../../../jobs/completeness/write-canaries.js';
import type { Job } from '../../../jobs/job.js';
import { setProbes } from '../../../store/completeness/probes.js';
import { createKysely } from '../../../store/database.js';
import { eventList } from '../../harness/events.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';
import { StandInApiserver } from '../../harness/stand-in-apiserver.js';

type Jobs = Record<'sampleCounters' | 'writeCanaries' | 'findGaps', Job>;

/** An apiserver that is asked for its counters, and told of by the source `prod-a` of cluster `prod`. */
export class Probing {
  readonly apiserver: StandInApiserver;
  readonly receiver: TestReceiver;
  readonly registry = new Registry();
  readonly folder: string;
  readonly logged: string[] = [];
  readonly #jobs: Jobs;

  private constructor(apiserver: StandInApiserver, receiver: TestReceiver, folder: string) {
    this.apiserver = apiserver;
    this.receiver = receiver;
    this.folder = folder;
    const places = { folder, environment: {} };
    const metrics = createCompletenessMetrics(this.registry);
    this.#jobs = {
      sampleCounters: sampleCountersJob(places, metrics, 0),
      writeCanaries: writeCanariesJob(places, metrics),
      findGaps: findGapsJob(metrics),
    };
  }

  static async start(): Promise<Probing> {
    const probing = new Probing(
      await StandInApiserver.start(),
      await startReceiver(),
      await mkdtemp(join(tmpdir(), 'whochanged-credentials-')),
    );
    const { apiserver, folder } = probing;
    await writeFile(join(folder, 'token'), `${apiserver.token}\n`);
    await writeFile(join(folder, 'ca.crt'), apiserver.caPem);
    await writeFile(
      join(folder, 'kubeconfig'),
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'c', cluster: { server: apiserver.url, 'certificate-authority': 'ca.crt' } }],
        users: [{ name: 'u', user: { tokenFile: 'token' } }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      }),
    );
    await setProbes(createKysely(probing.receiver.database.pool), 1, {
      metrics: {
        url: `${apiserver.url}/metrics`,
        token: `file:${join(folder, 'token')}`,
        ca: `file:${join(folder, 'ca.crt')}`,
        cert: null,
        key: null,
      },
      canary: { kubeconfig: `file:${join(folder, 'kubeconfig')}`, namespace: 'kube-system' },
    });
    return probing;
  }

  /** Runs a job as of the apiserver's time. */
  async run(job: keyof Jobs): Promise<number> {
    const client = await this.receiver.database.pool.connect();
    const note = (fields: object, message: string) =>
      void this.logged.push(`${message} ${JSON.stringify(fields)}`);
    try {
      const { rows } = await this.#jobs[job].runOnce({
        client,
        now: () => this.apiserver.date,
        log: { info: note, warn: note, error: note },
        signal: new AbortController().signal,
      });
      return rows;
    } finally {
      client.release();
    }
  }

  /** The apiserver's webhook posts what it has to tell, or these events. */
  async deliver(events = this.apiserver.take()): Promise<void> {
    if (events.length > 0) expect((await this.receiver.post(eventList(events))).status).toBe(200);
  }

  /** A minute with requests in its middle, told unless `lost`, and the sample at its end. */
  async minute(requests: number, lost = 0): Promise<unknown[]> {
    this.apiserver.wait(30);
    this.apiserver.serve(requests);
    this.apiserver.wait(30);
    const dropped = this.apiserver.take(lost);
    await this.deliver();
    expect(await this.run('sampleCounters')).toBe(1);
    // What the policy logs of that request itself.
    await this.deliver();
    return dropped;
  }

  // biome-ignore lint/suspicious/noExplicitAny: rows of whatever is asked for
  async rows(query: string): Promise<any[]> {
    return (await this.receiver.database.pool.query(query)).rows;
  }

  async verdicts(): Promise<string[]> {
    const rows = await this.rows(
      'select coalesce(reason, verdict::text) as verdict from counter_samples order by sampled_at',
    );
    return rows.map((row) => row.verdict as string);
  }

  gaps() {
    return this.rows(
      'select cause, since, until, expected, received, missing, evidence, state, closed_reason from gaps order by id',
    );
  }

  async stop(): Promise<void> {
    await this.apiserver.stop();
    await this.receiver.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}
