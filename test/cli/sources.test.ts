import { spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { runShell } from '../harness/cli.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

let api: RunningApi;
const cluster = new Cluster();
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

interface Kubeconfig {
  apiVersion: string;
  kind: string;
  'current-context': string;
  clusters: Array<{ name: string; cluster: { server: string; 'certificate-authority-data': string } }>;
  users: Array<{
    name: string;
    user: { token?: string; 'client-certificate-data'?: string; 'client-key-data'?: string };
  }>;
  contexts: Array<{ name: string; context: { cluster: string; user: string } }>;
}

/** Posts a batch as client-go does with this kubeconfig: TLS against its CA alone, its token or certificate. */
function postWith(kubeconfig: Kubeconfig, body: string): Promise<{ status: number; answer: unknown }> {
  const context = kubeconfig.contexts.find((item) => item.name === kubeconfig['current-context'])!.context;
  const target = kubeconfig.clusters.find((item) => item.name === context.cluster)!.cluster;
  const { user } = kubeconfig.users.find((item) => item.name === context.user)!;
  const decoded = (text: string | undefined) => text && Buffer.from(text, 'base64');
  return new Promise((resolve, reject) => {
    const sent = request(
      `${target.server}?timeout=30s`,
      {
        method: 'POST',
        ca: decoded(target['certificate-authority-data']),
        cert: decoded(user['client-certificate-data']),
        key: decoded(user['client-key-data']),
        agent: false,
        headers: {
          'content-type': 'application/json',
          ...(user.token && { authorization: `Bearer ${user.token}` }),
        },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode!, answer: JSON.parse(text) }));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

const batch = () => eventList([cluster.deployment('create', `web-${cluster.now}`, { image: 'web:1' })]);

async function add(name: string, ...flags: string[]): Promise<Kubeconfig> {
  const { code, stdout } = await api.cli(['source', 'add', name, '--cluster', 'prod', ...flags]);
  expect(code).toBe(0);
  return parse(stdout) as Kubeconfig;
}

describe('source add', () => {
  it('prints a kubeconfig whose token and CA open the webhook', async () => {
    const { code, stdout, stderr } = await api.cli(['source', 'add', 'prod-a', '--cluster', 'prod']);
    expect(code).toBe(0);
    const kubeconfig = parse(stdout) as Kubeconfig;
    expect(kubeconfig).toMatchObject({ apiVersion: 'v1', kind: 'Config' });
    expect(kubeconfig.clusters[0]!.cluster.server).toBe(`${api.https}/ingest/v1/audit/prod-a`);
    expect(await postWith(kubeconfig, batch())).toMatchObject({ status: 200, answer: { stored: 1 } });
    expect(stderr).toContain('apiserver of cluster "prod"');
    expect(stderr).toContain('--audit-webhook-config-file=FILE');
    expect(stderr).not.toContain(kubeconfig.users[0]!.user.token);
  });

  it('--client-cert prints one with a certificate that opens it', async () => {
    const kubeconfig = await add('prod-cert', '--client-cert');
    expect(kubeconfig.users[0]!.user.token).toBeUndefined();
    expect(await postWith(kubeconfig, batch())).toMatchObject({ status: 200, answer: { stored: 1 } });
  });

  it('--kubeconfig writes a file that only its owner can read, whatever was there', async () => {
    const file = join(api.folder, 'prod-file.yaml');
    writeFileSync(file, 'of old', { mode: 0o644 });
    const { stdout, stderr } = await api.cli([
      'source',
      'add',
      'prod-file',
      '--cluster',
      'prod',
      '--kubeconfig',
      file,
    ]);
    expect(stdout).toBe('');
    expect(stderr).toContain(`--audit-webhook-config-file=${file}`);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const kubeconfig = parse(readFileSync(file, 'utf8')) as Kubeconfig;
    expect(await postWith(kubeconfig, batch())).toMatchObject({ status: 200 });
  });

  it('makes no source when the file can’t be written, or the name is taken', async () => {
    const unwritable = await api.cli([
      'source',
      'add',
      'prod-no',
      '--cluster',
      'prod',
      '--kubeconfig',
      'no/such/file',
    ]);
    expect(unwritable.code).toBe(2);
    expect(unwritable.stderr).toMatch(/^whochanged: cannot write no\/such\/file: ENOENT\n/);
    const taken = await api.cli([
      'source',
      'add',
      'default',
      '--cluster',
      'prod',
      '--kubeconfig',
      'left.yaml',
    ]);
    expect(taken.code).toBe(2);
    expect(taken.stderr).toMatch(/^whochanged: a source called "default" is there already\n.*rotate/);
    expect(() => statSync(join(api.folder, 'left.yaml'))).toThrow('ENOENT');
    const { stdout } = await api.cli(['source', 'list', '-o', 'name']);
    expect(stdout.split('\n')).not.toContain('prod-no');
  });

  const hasKubectl = spawnSync('kubectl', ['version', '--client']).status === 0;
  it.runIf(hasKubectl)('prints one that client-go takes, where there is a kubectl', async () => {
    const { stdout } = await api.cli(['source', 'add', 'prod-kubectl', '--cluster', 'prod']);
    writeFileSync(join(api.folder, 'kubectl.yaml'), stdout, { mode: 0o600 });
    writeFileSync(join(api.folder, 'batch.json'), batch());
    const answer = await runShell(
      'kubectl --kubeconfig kubectl.yaml create --raw /ingest/v1/audit/prod-kubectl -f batch.json',
      { folder: api.folder, env: {} },
    );
    expect(answer).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(answer.stdout)).toMatchObject({ stored: 1 });
  });
});

describe('source rotate', () => {
  it('gives a new credential, beside which the old one goes on for the overlap', async () => {
    const old = await add('prod-rotate');
    const rotated = await api.cli(['source', 'rotate', 'prod-rotate', '--overlap', '1h']);
    const next = parse(rotated.stdout) as Kubeconfig;
    expect(next.users[0]!.user.token).not.toBe(old.users[0]!.user.token);
    expect(await postWith(old, batch())).toMatchObject({ status: 200 });
    expect(await postWith(next, batch())).toMatchObject({ status: 200 });
    const { stdout } = await api.cli(['source', 'list', '--utc']);
    expect(stdout).toMatch(
      /^prod-rotate +prod +ok +\S+ ago +.* token until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, token$/m,
    );
  });

  it('--overlap 0s ends the old one at once', async () => {
    const old = await add('prod-leak');
    const next = parse(
      (await api.cli(['source', 'rotate', 'prod-leak', '--overlap', '0s'])).stdout,
    ) as Kubeconfig;
    expect(await postWith(next, batch())).toMatchObject({ status: 200 });
    await expect.poll(async () => (await postWith(old, batch())).status, { timeout: 10_000 }).toBe(401);
  });

  it('says what is wrong with a name or an overlap', async () => {
    expect(await api.cli(['source', 'rotate', 'nobody'])).toEqual({
      code: 4,
      stdout: '',
      stderr: 'whochanged: no source is called "nobody"\nsee `whochanged source list`\n',
    });
    const overlap = await api.cli(['source', 'rotate', 'default', '--overlap', 'soon']);
    expect(overlap).toMatchObject({ code: 2, stdout: '' });
    expect(overlap.stderr).toBe('whochanged: --overlap soon: no duration\nwrite it like 30m, 24h or 7d\n');
  });
});

describe('source list and disable', () => {
  it('show whether everything arrives, and stop a source', async () => {
    const kubeconfig = await add('prod-old');
    expect(await postWith(kubeconfig, batch())).toMatchObject({ status: 200 });
    const { stdout } = await api.cli(['source', 'list', '-o', 'json']);
    const { items } = JSON.parse(stdout) as { items: Array<{ name: string; health: object }> };
    expect(items.find((item) => item.name === 'prod-old')).toMatchObject({
      cluster: 'prod',
      health: { state: 'ok', events: 1, batches: 1, quarantined: 0 },
    });
    expect(stdout).not.toContain(kubeconfig.users[0]!.user.token);
    expect((await api.cli(['source', 'disable', 'prod-old'])).stdout).toBe('prod-old is disabled\n');
    await expect
      .poll(async () => (await postWith(kubeconfig, batch())).status, { timeout: 10_000 })
      .toBe(401);
    expect((await api.cli(['source', 'list'])).stdout).toMatch(/^prod-old +prod +disabled /m);
  });

  it('keep every token out of the log', async () => {
    expect(api.log()).not.toMatch(/wcs?_[A-Za-z0-9_-]{20}/);
  });
});
