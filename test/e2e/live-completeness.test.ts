import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { createPool } from '../../store/database.js';
import { freePort } from '../harness/free-port.js';
import { type RunningSystem, startSystem } from '../harness/system.js';
import { type LiveCluster, startCluster } from './live-cluster.js';
import { addSource, adminToken, eventsStored, eventsTold } from './live-ledger.js';

const BIN = process.env.WHOCHANGED_E2E_BIN;
/** The cluster's apiserver keeps trying for 16 to 20 seconds, and the ledger takes 81 for its patience. */
const OUTAGE_MS = 90_000;

interface Gap {
  cause: string;
  since: string;
  until: string;
  expected?: number;
  missing?: number;
  evidence: { missingAtMost?: number; errors?: Record<string, number> };
}
interface Step {
  verdict: string;
  since: string;
  until: string;
  reasons: string[];
  expected: number | null;
  received: number | null;
  missing: number | null;
  evidence: Array<{ kind: string; seen?: number; sent?: number }>;
}

/**
 * A real kube-apiserver is asked for its counters while it posts, and whochanged is away for longer than it waits. What is
 * said to be missing is compared with the apiserver's own audit log. Runs as live-cluster.test.ts does; takes ten minutes,
 * most of them waiting until nothing can come any more.
 */
describe.skipIf(!BIN)('the completeness of a live cluster', () => {
  let folder: string;
  let system: RunningSystem | undefined;
  let cluster: LiveCluster | undefined;
  const load = new AbortController();
  afterAll(async () => {
    load.abort();
    await cluster?.stop();
    await system?.stop();
    if (folder && !process.env.WHOCHANGED_E2E_KEEP) await rm(folder, { recursive: true, force: true });
  }, 60_000);

  it('is proven while all comes, and denied by the right number for what was lost', async () => {
    folder = await mkdtemp(join(tmpdir(), 'whochanged-e2e-'));
    await chmod(folder, 0o711);
    const data = join(folder, 'data');
    const ports = {
      WHOCHANGED_HTTP_PORT: String(await freePort()),
      WHOCHANGED_HTTPS_PORT: String(await freePort()),
    };
    system = await startSystem(data, ports);
    const webhook = await addSource(system, data);
    cluster = await startCluster({ bin: BIN!, folder: join(folder, 'cluster'), webhookKubeconfig: webhook });
    const token = await adminToken(data);
    const api = async <T>(path: string, method = 'GET', body?: object): Promise<T> => {
      const response = await fetch(`${system!.http}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body && { 'content-type': 'application/json' }),
        },
        ...(body && { body: JSON.stringify(body) }),
      });
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
      return (await response.json()) as T;
    };
    await api('/v1/sources/live/probes', 'PUT', await writeProbes(join(data, 'credentials'), cluster));

    const writing = write(cluster, load.signal);
    const began = new Date();
    await api('/v1/jobs/write-canaries/run', 'POST');
    // The schedule reads the counters once a minute.
    await sleep(200_000);
    await system.stop();
    const away = new Date();
    await sleep(OUTAGE_MS);
    system = await startSystem(data, ports);
    await sleep(75_000);
    load.abort();
    const written = await writing;
    await cluster.stillRuns();

    const gaps = async (cause: string) =>
      (await api<{ items: Gap[] }>(`/v1/gaps?cause=${cause}&state=open`)).items;
    expect(await gaps('receiver_down')).toHaveLength(1);
    await expect
      .poll(async () => (await gaps('events_missing')).length, { timeout: 480_000, interval: 5000 })
      .toBe(1);
    const gap = (await gaps('events_missing'))[0]!;
    const before = await api<{ items: Step[] }>(
      `/v1/completeness?source=live&since=${began.toISOString()}&until=${away.toISOString()}&step=30s`,
    );
    const list = await api<{ completeness: { verdict: string; gaps: number } }>(
      `/v1/changes?since=${began.toISOString()}&limit=1`,
    );
    await cluster.stop();

    const told = await eventsTold(cluster.auditLog);
    const pool = createPool({
      host: join(data, 'postgres/run'),
      user: 'whochanged',
      database: 'postgres',
      poolSize: 2,
      applicationName: 'test',
    });
    try {
      const stored = new Set(await eventsStored(pool));
      const lost = told.filter((event) => !stored.has(event));
      const complete = before.items.filter(({ verdict }) => verdict === 'complete');
      const { rows } = await pool.query<{ expected: string; received: string }>(
        `select sum(expected) as expected, sum(received) as received from counter_samples
          where verdict = 'complete' and sampled_at < $1`,
        [away],
      );
      const { expected, received } = rows[0]!;
      console.log(
        [
          `${written} writes of ours; ${told.length} events in the apiserver's own log, ${stored.size} in the ledger, ${lost.length} lost`,
          `before the outage: ${complete.length} of ${before.items.length} steps of 30 s proven complete, ${expected} events expected, ${received} received`,
          `the gap: ${JSON.stringify(gap)}`,
        ].join('\n'),
      );
      expect(lost.length).toBeGreaterThan(0);
      expect(gap.missing!).toBeLessThanOrEqual(lost.length);
      expect(gap.evidence.missingAtMost!).toBeGreaterThanOrEqual(lost.length);
      expect(gap.missing!).toBeGreaterThan(0);
      expect(gap.evidence.errors?.webhook ?? 0).toBeGreaterThan(0);
      // Other stages may be told long after the request's time, by which they are told apart here.
      for (const event of lost.filter((name) => name.includes(' RequestReceived ')))
        expect(event > gap.since && event < gap.until).toBe(true);
      expect(complete.length).toBeGreaterThan(0);
      expect(Number(expected)).toBeGreaterThan(0);
      expect(received).toBe(expected);
      expect(before.items.flatMap(({ evidence }) => evidence)).toContainEqual(
        expect.objectContaining({ kind: 'canaries', sent: 1, seen: 1 }),
      );
      expect(list.completeness).toMatchObject({ verdict: 'incomplete', gaps: 2 });
    } finally {
      await pool.end();
    }
  }, 1_200_000);
});

/** Credentials for the cluster where the server looks for them, and what names them. */
async function writeProbes(credentials: string, cluster: LiveCluster): Promise<object> {
  await mkdir(credentials, { recursive: true });
  const ca = await readFile(cluster.caFile, 'utf8');
  await writeFile(join(credentials, 'token'), 'admin-token\n', { mode: 0o600 });
  await writeFile(join(credentials, 'ca.crt'), ca);
  await writeFile(
    join(credentials, 'kubeconfig'),
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster: { server: cluster.url, 'certificate-authority': 'ca.crt' } }],
      users: [{ name: 'admin', user: { tokenFile: 'token' } }],
      contexts: [{ name: 'admin', context: { cluster: 'c', user: 'admin' } }],
      'current-context': 'admin',
    }),
    { mode: 0o600 },
  );
  const at = (name: string) => `file:${join(credentials, name)}`;
  return {
    metrics: { url: `${cluster.url}/metrics`, token: at('token'), ca: at('ca.crt') },
    canary: { kubeconfig: at('kubeconfig'), namespace: 'kube-system' },
  };
}

/** Writes ConfigMaps, five a second, until it is told to end. Returns how many were made. */
async function write(cluster: LiveCluster, signal: AbortSignal): Promise<number> {
  const ca = await readFile(cluster.caFile);
  let made = 0;
  for (let i = 0; !signal.aborted; i++) {
    const status = await new Promise<number>((resolve, reject) => {
      const sent = request(
        `${cluster.url}/api/v1/namespaces/default/configmaps`,
        {
          method: 'POST',
          ca,
          headers: { authorization: 'Bearer admin-token', 'content-type': 'application/json' },
        },
        (response) => response.resume().on('end', () => resolve(response.statusCode!)),
      );
      sent.on('error', reject);
      sent.end(JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `load-${i}` } }));
    });
    if (status === 201) made++;
    await sleep(200);
  }
  return made;
}
