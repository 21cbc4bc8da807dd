import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPool } from '../store/database.js';
import { startSystem, webhookToken } from '../test/harness/system.js';
import { fillLedger } from './fill.js';
import { Traffic } from './traffic.js';

/**
 * `npm run bench:questions -- [events] [samples]`
 * What users ask, over HTTP, of a ledger of this many events: p50, p99 and the slowest, each sample at another place.
 * BENCH_KEEP=folder keeps the filled ledger there, or takes it from there.
 */
const events = Number(process.argv[2] ?? 5_000_000);
const samples = Number(process.argv[3] ?? 100);
const SESSIONS = 10;
/** Below the API's rate limit. */
const PAUSE_MS = 50;

const kept = process.env.BENCH_KEEP;
const folder = kept ?? (await mkdtemp(join(tmpdir(), 'whochanged-questions-')));
await chmod(folder, 0o711);
const say = (text: string) => process.stderr.write(`${text}\n`);
const database = {
  host: join(folder, 'postgres/run'),
  user: 'whochanged',
  database: 'postgres',
  poolSize: 2,
  applicationName: 'bench',
};

/** A base to repeat, with all that the jobs make of it. */
async function ingestBase(): Promise<void> {
  const system = await startSystem(folder);
  const token = await webhookToken(folder);
  const traffic = new Traffic();
  for (const { body } of traffic.batches(Array.from({ length: SESSIONS }, (_, i) => i))) {
    const answer = await fetch(`${system.http}/ingest/v1/audit/default`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body,
    });
    if (!answer.ok) throw new Error(await answer.text());
  }
  const admin = (await readFile(join(folder, 'admin-token'), 'utf8')).trim();
  for (let busy = true; busy; await sleep(500)) {
    const answer = await fetch(`${system.http}/v1/jobs/attribute/run`, {
      method: 'POST',
      headers: { authorization: `Bearer ${admin}` },
    });
    busy = answer.status === 409;
  }
  await system.stop();
}

if (!(await readFile(join(folder, 'admin-token')).catch(() => undefined))) await ingestBase();
// Without jobs: they would go through all that is filled in.
const system = await startSystem(folder, { WHOCHANGED_ROLES: 'api' }, 'build');
const pool = createPool(database);
const count = async () => Number((await pool.query('select count(*) from events')).rows[0].count);
if ((await count()) < events) await fillLedger(pool, events, say);
const admin = (await readFile(join(folder, 'admin-token'), 'utf8')).trim();

/** Values that exist, for samples to ask for. */
async function some(query: string): Promise<string[]> {
  const { rows } = await pool.query({ text: query, rowMode: 'array' });
  return rows.flat().map(String);
}
const times = await some(
  `select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') from changes tablesample system (1) order by random() limit 200`,
);
const deployments = await some(
  `select namespace from objects where resource = 'deployments' and name = 'web'`,
);
const ids = await some('select change_id from changes tablesample system (1) order by random() limit 200');
const eventIDs = await some(
  `select (extract(epoch from at) * 1000000)::bigint || '-' || encode(digest, 'hex') || '-' || source_id from events tablesample system (0.2) order by random() limit 200`,
);
const auditIDs = await some(
  'select audit_id from events tablesample system (0.2) order by random() limit 200',
);

const pick = (list: string[], i: number) => list[i % list.length]!;
const before = (time: string, minutes: number) => new Date(Date.parse(time) - minutes * 60_000).toISOString();
const web = (i: number) => `/v1/objects/default/apps/deployments/${pick(deployments, i)}/web`;

const questions: Record<string, (i: number) => string> = {
  'the newest changes': () => '/v1/changes',
  '30 minutes': (i) => `/v1/changes?since=${before(pick(times, i), 30)}&until=${pick(times, i)}`,
  '30 minutes of a namespace': (i) =>
    `/v1/changes?namespace=${pick(deployments, i)}&since=${before(pick(times, i), 30)}&until=${pick(times, i)}`,
  'a namespace': (i) => `/v1/changes?namespace=${pick(deployments, i)}`,
  'a Deployment': (i) => `/v1/changes?resource=deploy&name=web&namespace=${pick(deployments, i)}`,
  'names by prefix': (i) => `/v1/changes?name=web*&until=${pick(times, i)}`,
  'a label': (i) => `/v1/changes?label=app%3Dweb&until=${pick(times, i)}`,
  'an actor': (i) => `/v1/changes?actor=alice@example.com&until=${pick(times, i)}`,
  'actors by pattern': (i) =>
    `/v1/changes?actor=${encodeURIComponent('system:serviceaccount:ci:*')}&until=${pick(times, i)}`,
  'a tool': (i) => `/v1/changes?tool=session-script&until=${pick(times, i)}`,
  'a verb': (i) => `/v1/changes?verb=deletecollection&until=${pick(times, i)}`,
  'rights granted': (i) => `/v1/changes?kind=rbac_grant&until=${pick(times, i)}`,
  'images of any container': (i) =>
    `/v1/changes?field=${encodeURIComponent('spec.template.spec.containers[*].image')}&until=${pick(times, i)}`,
  'an image field of a namespace': (i) =>
    `/v1/changes?field=${encodeURIComponent('spec.template.spec.containers[web].image')}&namespace=${pick(deployments, i)}`,
  'everything, 30 minutes': (i) =>
    `/v1/changes?all=true&since=${before(pick(times, i), 30)}&until=${pick(times, i)}`,
  'rejected requests': (i) => `/v1/changes?class=rejected&until=${pick(times, i)}`,
  'density of a week': (i) =>
    `/v1/changes/density?since=${before(pick(times, i), 10_080)}&until=${pick(times, i)}`,
  'density of a namespace, 30 days': (i) =>
    `/v1/changes/density?namespace=${pick(deployments, i)}&since=${before(pick(times, i), 43_200)}&until=${pick(times, i)}`,
  'density of everything': () =>
    `/v1/changes/density?since=${before([...times].sort()[0]!, 1440)}&until=${[...times].sort().at(-1)}`,
  'one change': (i) => `/v1/changes/${pick(ids, i)}`,
  'its state after': (i) => `/v1/changes/${pick(ids, i)}`,
  history: (i) => `${web(i)}/history`,
  'state at a time': (i) => `${web(i)}/state?at=${pick(times, i)}`,
  'two times compared': (i) => `${web(i)}/compare?from=${before(pick(times, i), 60)}&to=${pick(times, i)}`,
  rollback: (i) => `${web(i)}/rollback?to=${before(pick(times, i), 60)}`,
  'activity of an actor, a day': (i) =>
    `/v1/actors/bob@example.com/activity?since=${before(pick(times, i), 1440)}&until=${pick(times, i)}`,
  'interactive access': (i) => `/v1/access?until=${pick(times, i)}`,
  'reads of Secrets': (i) => `/v1/secret-reads?until=${pick(times, i)}`,
  'events of a request': (i) => `/v1/events?auditID=${pick(auditIDs, i)}`,
  'one raw event': (i) => `/v1/events/${pick(eventIDs, i)}`,
  quarantine: () => '/v1/quarantine',
  sources: () => '/v1/sources',
};

console.log(
  `${(await count()).toLocaleString('en')} events, ${(await some('select count(*) from changes'))[0]} changes`,
);
console.log(
  `${'question'.padEnd(34)}${'p50 ms'.padStart(8)}${'p99 ms'.padStart(8)}${'max ms'.padStart(8)}  rows`,
);
for (const [name, path] of Object.entries(questions)) {
  const took: number[] = [];
  let rows = 0;
  for (let i = -3; i < samples; i++) {
    const started = performance.now();
    const answer = await fetch(system.http + path(Math.max(0, i)), {
      headers: { authorization: `Bearer ${admin}` },
    });
    const text = await answer.text();
    // The first few open connections and prepare plans.
    if (i >= 0) took.push(performance.now() - started);
    if (!answer.ok && answer.status !== 404) throw new Error(`${path(i)}: ${text}`);
    rows = Math.max(rows, (JSON.parse(text) as { items?: unknown[] }).items?.length ?? 1);
    await sleep(PAUSE_MS);
  }
  took.sort((a, b) => a - b);
  const at = (share: number) => took[Math.min(took.length - 1, Math.floor(took.length * share))]!;
  console.log(
    `${name.padEnd(34)}${at(0.5).toFixed(1).padStart(8)}${at(0.99).toFixed(1).padStart(8)}${took.at(-1)!.toFixed(1).padStart(8)}  ${rows}`,
  );
}
await pool.end();
await system.stop();
if (kept === undefined) await rm(folder, { recursive: true, force: true });
