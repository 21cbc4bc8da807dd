import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import { readConfig } from '../../main/config.js';

const ROOT = join(import.meta.dirname, '../..');
/** `docker compose` or `docker-compose`, where it is to be run for real; the images are named as docs/configuration.md says. */
const COMPOSE = process.env.WHOCHANGED_TEST_COMPOSE?.split(' ');

interface Service {
  image: string;
  environment: Record<string, string>;
  ports?: string[];
  volumes: string[];
  networks: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: unknown;
  read_only?: boolean;
}

/** With the defaults of its variables, which may stand in one another. */
function withDefaults(text: string): string {
  const filled = text.replace(/\$\{\w+:-([^${}]*)\}/g, '$1');
  return filled === text ? text : withDefaults(filled);
}

it('docker-compose.yml starts what whochanged can start with, and names nothing that it does not have', () => {
  const { services, volumes, networks } = parse(
    withDefaults(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8')),
  ) as {
    services: Record<string, Service>;
    volumes: Record<string, null>;
    networks: Record<string, null>;
  };
  const { whochanged, postgres } = services as { whochanged: Service; postgres: Service };
  const dockerfile = readFileSync(join(ROOT, 'deploy/Dockerfile'), 'utf8');
  const dataDir = /WHOCHANGED_DATA_DIR=(\S+)/.exec(dockerfile)![1]!;

  const config = readConfig({ WHOCHANGED_DATA_DIR: dataDir, ...whochanged.environment });
  const url = new URL(config.database.url!);
  expect(services[url.hostname]).toBe(postgres);
  expect([url.username, url.pathname.slice(1), whochanged.environment.PGPASSWORD]).toEqual([
    postgres.environment.POSTGRES_USER,
    postgres.environment.POSTGRES_DB,
    postgres.environment.POSTGRES_PASSWORD,
  ]);
  expect(whochanged.depends_on).toEqual({ postgres: { condition: 'service_healthy' } });
  expect(postgres.healthcheck).toBeDefined();
  // Published on loopback alone, and what listens inside listens for the engine's forwarding.
  const inside = [config.https.port, config.http.port];
  expect(whochanged.ports).toEqual(inside.map((port) => `127.0.0.1:${port}:${port}`));
  expect([config.http.host, config.https.host]).toEqual(['0.0.0.0', '0.0.0.0']);
  expect(whochanged.read_only).toBe(true);
  expect(whochanged.volumes).toEqual([`whochanged:${dataDir}`]);
  for (const service of Object.values(services)) {
    expect(service.image).toMatch(/^[\w./-]+(:\w+)?$/);
    for (const volume of service.volumes) expect(volumes).toHaveProperty(volume.split(':')[0]!);
    for (const network of service.networks) expect(networks).toHaveProperty(network);
  }
});

it.skipIf(!COMPOSE)(
  'docker-compose.yml, run for real, takes events while Postgres is away and whochanged is started again',
  async () => {
    const [program, ...words] = COMPOSE!;
    const compose = async (...args: string[]) => {
      const all = [...words, '-p', 'whochanged-test', ...args];
      const { stdout } = await promisify(execFile)(program!, all, { cwd: ROOT, timeout: 240_000 });
      return stdout;
    };
    const inside = (...args: string[]) => compose('exec', '-T', 'whochanged', ...args);
    onTestFinished(() => compose('down', '-v').then(() => undefined), 120_000);
    await compose('up', '-d', '--no-build');

    let token = '';
    await expect
      .poll(async () => (token = (await inside('cat', '/data/admin-token').catch(() => '')).trim()), {
        timeout: 60_000,
      })
      .toMatch(/^wc_/);
    const sourceToken = /token: (\S+)/.exec(await inside('cat', '/data/webhook-kubeconfig.yaml'))![1]!;
    const agent = new Agent({ ca: await inside('cat', '/data/tls/ca.crt') });
    const ask = (method: string, path: string, bearer: string, body?: string) =>
      new Promise<Record<string, never>>((done, fail) => {
        const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' };
        const sent = request(`https://localhost:8443${path}`, { method, agent, headers }, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
          response.on('end', () => done(JSON.parse(text)));
        });
        sent.on('error', fail).end(body);
      });
    const lines = gunzipSync(readFileSync(join(ROOT, 'test/fixtures/session/recording.ndjson.gz')))
      .toString('utf8')
      .trim()
      .split('\n');
    const post = (items: string[]) =>
      ask(
        'POST',
        '/ingest/v1/audit/default',
        sourceToken,
        `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[${items.join(',')}]}`,
      );
    expect(await post(lines.slice(0, 3000))).toMatchObject({ stored: 3000 });
    await compose('stop', 'postgres');
    expect(await post(lines.slice(3000))).toMatchObject({ spooled: lines.length - 3000 });
    await compose('restart', '-t', '20', 'whochanged');
    await compose('start', 'postgres');
    await expect
      .poll(() => ask('GET', '/v1/sources', token).catch(() => undefined), {
        timeout: 90_000,
        interval: 1000,
      })
      .toMatchObject({ items: [{ name: 'default', health: { events: lines.length, duplicates: 0 } }] });
    // The command line beside the server needs to be told nothing.
    const said = await inside('node', 'dist/cli/whochanged.js', 'deploy/web', '-n', 'shop', '--since', '52w');
    expect(said).toMatch(/alice@example\.com.*delete.*deployments\/web/);
    await expect(inside('touch', '/app/x')).rejects.toThrow(/Read-only/);
  },
  400_000,
);
