import type { ChildProcess } from 'node:child_process';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startCli } from '../harness/cli.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

let api: RunningApi;
const cluster = new Cluster();
const started: ChildProcess[] = [];
beforeAll(async () => {
  api = await startApi();
  await api.post(eventList([cluster.deployment('create', 'web', { image: 'web:1' })]));
});
afterAll(async () => {
  for (const child of started) child.kill('SIGKILL');
  await api.stop();
});

/** A `tail -f` and what it has written; it ends by a signal. */
function follow(args: string[], env: Record<string, string> = {}) {
  const child = startCli(['tail', '-f', '--utc', ...args], {
    folder: api.folder,
    env: { WHOCHANGED_URL: api.http, WHOCHANGED_TOKEN: api.adminToken, ...env },
  });
  started.push(child);
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((done) =>
    child.once('close', (code, signal) => done({ code, signal })),
  );
  return {
    stdout: () => stdout,
    stderr: () => stderr,
    shows: async (text: string) => {
      await vi.waitFor(() => expect(stdout).toContain(text), { timeout: 10_000, interval: 20 });
    },
    end: async (signal: NodeJS.Signals) => {
      child.kill(signal);
      return ended;
    },
  };
}

// At the same time, since they mostly wait.
describe.concurrent('tail -f', () => {
  it('shows new changes as they come, below one head, each once, until it is interrupted', async ({
    expect,
  }) => {
    const tail = follow(['deploy/web', '-n', 'shop'], { COLUMNS: '160' });
    await tail.shows('created');
    await api.post(eventList([cluster.deployment('patch', 'web', { image: 'web:2' })]));
    await tail.shows('image web: web:1 → web:2');
    // Another's change doesn't match, and doesn't hold up what comes after it.
    await api.post(eventList([cluster.deployment('create', 'other', { image: 'other:1' })]));
    await api.post(eventList([cluster.deployment('patch', 'web', { image: 'web:2', replicas: 5 })]));
    await tail.shows('replicas: 1 → 5');
    expect(await tail.end('SIGINT')).toEqual({ code: 0, signal: null });
    const lines = tail.stdout().trimEnd().split('\n');
    expect(
      lines.map((line) => line.replace(/^(\S+ \S+) \(\d+[smhd]\) +/, '$1 ').replace(/ {2,}/g, '  ')),
    ).toEqual([
      'WHEN  ACTOR  VIA  DID  OBJECT  WHAT',
      expect.stringMatching(
        /^03-02 09:00:01 alice@example\.com {2}kubectl {2}create {2}shop deployments\/web {2}created/,
      ),
      expect.stringMatching(
        /^03-02 .* alice@example\.com {2}kubectl {2}update {2}shop deployments\/web {2}image web: web:1 → web:2$/,
      ),
      expect.stringMatching(
        /^03-02 .* alice@example\.com {2}kubectl {2}scale {2}shop deployments\/web {2}replicas: 1 → 5$/,
      ),
    ]);
    expect(tail.stderr()).toBe('');
  });

  it('-o ndjson gives a change a line, also of a cluster that is new', async ({ expect }) => {
    const relay = await startRelay(api.http);
    const tail = follow(['-o', 'ndjson', '--name', 'fresh'], { WHOCHANGED_URL: relay.url });
    // Two questions to begin with, and then it follows.
    await expect.poll(relay.requests, { timeout: 10_000 }).toBeGreaterThan(2);
    const added = await api.cli(['source', 'add', 'second', '--cluster', 'second']);
    const token = /token: (\S+)/.exec(added.stdout)![1]!;
    const fresh = new Cluster().deployment('create', 'fresh', { image: 'fresh:1' });
    const response = await fetch(`${api.http}/ingest/v1/audit/second`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: eventList([fresh]),
    });
    expect(response.status).toBe(200);
    await tail.shows('\n');
    expect(await tail.end('SIGTERM')).toEqual({ code: 0, signal: null });
    await relay.stop();
    const changes = tail.stdout().trimEnd().split('\n');
    expect(changes).toHaveLength(1);
    expect(JSON.parse(changes[0]!)).toMatchObject({ cluster: 'second', object: { name: 'fresh' } });
  });

  it('goes on when the server was away', async ({ expect }) => {
    const relay = await startRelay(api.http);
    const tail = follow(['-o', 'name', '--name', 'late'], { WHOCHANGED_URL: relay.url });
    await expect.poll(relay.requests, { timeout: 10_000 }).toBeGreaterThan(2);
    await relay.stop();
    await expect.poll(tail.stderr, { timeout: 10_000 }).toMatch(/^cannot reach .*: ECONN\w+; trying on\n$/);
    await api.post(eventList([cluster.deployment('create', 'late', { image: 'late:1' })]));
    await relay.start();
    await expect.poll(tail.stderr, { timeout: 10_000 }).toMatch(/trying on\nconnected again\n$/);
    await tail.shows('\n');
    expect(await tail.end('SIGINT')).toEqual({ code: 0, signal: null });
    expect(tail.stdout()).toMatch(/^[0-9a-f-]{36}\n$/);
    await relay.stop();
  });
});

describe('tail', () => {
  it('-f says at once that it cannot follow what changes nothing', async () => {
    const { code, stderr } = await api.cli(['tail', '-f', '--class', 'rejected']);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^whochanged: after_seq: requests of class rejected change nothing.*\nask for them/,
    );
  });

  it('without -f shows the latest, oldest first, and ends', async () => {
    const { code, stdout } = await api.cli(['tail', 'deploy/web', '-o', 'json']);
    expect(code).toBe(0);
    const { items } = JSON.parse(stdout) as { items: Array<{ kind: string }> };
    expect(items.map((item) => item.kind)).toEqual(['create', 'update', 'scale']);
  });
});

interface Relay {
  url: string;
  requests(): number;
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** Passes connections on to the API, and can be shut and opened again. */
async function startRelay(target: string): Promise<Relay> {
  const port = Number(new URL(target).port);
  const open = new Set<Socket>();
  let requests = 0;
  const server = createServer((socket) => {
    socket.on('data', () => requests++);
    const upstream = connect(port, '127.0.0.1');
    for (const end of [socket, upstream]) {
      open.add(end);
      end.on('error', () => end.destroy()).on('close', () => open.delete(end));
    }
    socket.pipe(upstream).pipe(socket);
  });
  const listen = (at: number) =>
    new Promise<number>((done) =>
      server.listen(at, '127.0.0.1', () => done((server.address() as AddressInfo).port)),
    );
  const own = await listen(0);
  return {
    url: `http://127.0.0.1:${own}`,
    requests: () => requests,
    stop: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const socket of open) socket.destroy();
      }),
    start: async () => void (await listen(own)),
  };
}
