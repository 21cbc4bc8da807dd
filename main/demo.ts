import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { parse } from 'yaml';
import { createProgram, run } from '../cli/program.js';
import { readVersion } from '../cli/version.js';
import { readConfig } from './config.js';
import { createLogger } from './log.js';
import { type System, start } from './start.js';

/**
 * `npm run demo`: starts the whole system on a data folder of its own, posts a recorded cluster's audit events to its
 * webhook as that cluster's apiserver did, and asks what happened. `-- --serve` goes on serving for a look around.
 */
const BUILT = import.meta.dirname.endsWith(join('dist', 'main'));
const RECORDING = join(
  import.meta.dirname,
  BUILT ? '../..' : '..',
  'test/fixtures/session/recording.ndjson.gz',
);
const BATCH = 400;
const IMAGES = 'spec.template.spec.containers[*].image';

/** The webhook's token, where an apiserver would find it too. */
async function sourceToken(dataDir: string): Promise<string> {
  const kubeconfig = parse(await readFile(join(dataDir, 'webhook-kubeconfig.yaml'), 'utf8')) as {
    users: Array<{ user: { token: string } }>;
  };
  return kubeconfig.users[0]!.user.token;
}

async function post(url: string, token: string, body: string): Promise<Record<string, number>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body,
  });
  const answer = (await response.json()) as Record<string, number>;
  if (!response.ok) throw new Error(`${url}: ${JSON.stringify(answer)}`);
  return answer;
}

/** Lets what builds on the events be done, so that each run of the demo tells the same. */
async function work(api: string, token: string): Promise<void> {
  for (const job of ['attribute', 'links', 'verdicts']) {
    for (;;) {
      const response = await fetch(`${api}/v1/jobs/${job}/run`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
      });
      if (response.ok) break;
      // At work already, as jobs are after each batch.
      if (response.status !== 409) throw new Error(`job ${job}: ${await response.text()}`);
      await new Promise((done) => setTimeout(done, 100));
    }
  }
}

/** The newest change of an image of deploy/web. */
async function imageChange(api: string, token: string, since: string): Promise<string> {
  const query = new URLSearchParams({
    resource: 'deploy',
    namespace: 'shop',
    name: 'web',
    field: IMAGES,
    since,
  });
  const response = await fetch(`${api}/v1/changes?${query}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return ((await response.json()) as { items: Array<{ id: string }> }).items[0]!.id;
}

async function feed(system: System, dataDir: string): Promise<{ since: string; until: string }> {
  const lines = gunzipSync(readFileSync(RECORDING)).toString('utf8').trim().split('\n');
  const token = await sourceToken(dataDir);
  let stored = 0;
  let duplicates = 0;
  for (let at = 0; at < lines.length; at += BATCH) {
    const items = lines.slice(at, at + BATCH).join(',');
    const answer = await post(
      `${system.urls.http}/ingest/v1/audit/default`,
      token,
      `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[${items}]}`,
    );
    stored += answer.stored ?? 0;
    duplicates += answer.duplicates ?? 0;
  }
  process.stdout.write(`${lines.length} audit events posted: ${stored} new, ${duplicates} known already\n`);
  const times = lines.map(
    (line) => (JSON.parse(line) as { requestReceivedTimestamp: string }).requestReceivedTimestamp,
  );
  times.sort();
  return { since: times[0]!, until: new Date(Date.parse(times.at(-1)!) + 1000).toISOString() };
}

async function ask(...argv: string[]): Promise<void> {
  process.stdout.write(`\n$ npx whochanged ${argv.join(' ')}\n`);
  await run(createProgram('whochanged', readVersion()), ['node', 'whochanged', ...argv]);
}

const dataDir = join(process.env.WHOCHANGED_DATA_DIR ?? 'data', 'demo');
const serves = process.argv.includes('--serve');
const config = readConfig({
  WHOCHANGED_HTTP_PORT: '0',
  WHOCHANGED_HTTPS_PORT: '0',
  WHOCHANGED_LOG_LEVEL: 'warn',
  ...process.env,
  WHOCHANGED_DATA_DIR: dataDir,
});
let welcome = '';
const system = await start(
  config,
  createLogger(config.logLevel),
  (error) => {
    throw error;
  },
  (text) => (welcome = text),
);
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void system.stop().then(() => process.exit(serves ? 0 : 130)));
try {
  const { since, until } = await feed(system, dataDir);
  const adminToken = (await readFile(join(dataDir, 'admin-token'), 'utf8')).trim();
  await work(system.urls.http, adminToken);
  process.env.WHOCHANGED_URL = system.urls.http;
  process.env.WHOCHANGED_TOKEN = adminToken;
  await ask('-n', 'shop', '--since', since, '--until', until, '--limit', '40');
  await ask('deploy/web', '-n', 'shop', '--field', IMAGES, '--since', since);
  await ask('show', await imageChange(system.urls.http, adminToken, since));
  process.stdout.write(serves ? welcome : '\nTo go on asking, and for the page: npm run demo -- --serve\n');
} finally {
  if (!serves) await system.stop();
}
