import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import { startSystem, webhookToken } from '../test/harness/system.js';
import { ask, questionsOf } from './asked.js';
import { readCpu } from './cpu.js';
import { fillFolder, poolOf } from './filled-ledger.js';
import { plotSvg } from './plot.js';
import { send } from './send.js';
import { SESSION_SECONDS } from './traffic.js';

/**
 * `npm run bench:growth -- [sizes] [samples]`
 * What an event, a question and a run of the jobs cost in ledgers of these sizes (`1000000,10000000`), and a picture of
 * it in docs/growth.svg. BENCH_KEEP=folder keeps the ledgers in folders named by their size, or takes them from there.
 */
const sizes = (process.argv[2] ?? '100000,1000000,10000000').split(',').map(Number);
const samples = Number(process.argv[3] ?? 50);
const PICTURE = join(import.meta.dirname, '../docs/growth.svg');
const ASKED = [
  'the newest changes',
  '30 minutes of a namespace',
  'a Deployment',
  'an actor',
  'an image field of a namespace',
  'one change',
  'history',
  'state at a time',
  'activity of an actor, a day',
  'reads of Secrets',
];
const SENT_SESSIONS = 6;
/** Four days into what was filled: among other events, not after all of them. */
const FIRST_SESSION = 2000;
const WARM_UP_SESSIONS = 2;
const MOST_SESSIONS = 4000;
/** Jobs that follow the order of commit. */
const FOLLOWING = ['attribute', 'links', 'find-gaps'];

interface Grown {
  events: number;
  /** Microseconds of CPU of the program and of Postgres, an event. */
  ingest: number;
  /** Median milliseconds. */
  questions: Record<string, number>;
  /** Milliseconds for a thousand changes. */
  jobs: Record<string, number>;
}

/** Copies are numbered beyond what Postgres would give next, and no job has been told that they are done. */
async function continueBehindCopies(pool: Pool): Promise<void> {
  const { rows } = await pool.query('select max(seq)::text as last from events');
  await pool.query(`select setval('ingest_seq', $1::bigint + 65536)`, [rows[0].last]);
  await pool.query(
    `insert into job_cursors (job, cluster_id, seq) select job, c.id, $1::bigint from clusters c, unnest($2::text[]) job
     on conflict (job, cluster_id) do update set seq = excluded.seq`,
    [rows[0].last, FOLLOWING],
  );
}

/** The first of as many sessions as are sent of which the ledger has none: one that is kept has those of runs before. */
async function firstNewSession(pool: Pool): Promise<number> {
  const count = WARM_UP_SESSIONS + SENT_SESSIONS;
  const { rows } = await pool.query<{ n: number }>(
    `select n from generate_series($1::int, $2::int, $3::int) n, (select min(at) as at from events) first
      where not exists (select from events e where e.cluster_id in (select id from clusters)
                           and e.at >= first.at + n * $4 * interval '1 second'
                           and e.at < first.at + (n + $3) * $4 * interval '1 second')
      order by n limit 1`,
    [FIRST_SESSION, MOST_SESSIONS, count, SESSION_SECONDS],
  );
  if (!rows[0]) throw new Error('there is no room for other sessions in this ledger: fill it anew');
  return rows[0].n;
}

async function measureIngest(folder: string): Promise<number> {
  const system = await startSystem(folder, { WHOCHANGED_ROLES: 'ingest,api' }, 'build');
  const pool = poolOf(folder);
  await continueBehindCopies(pool);
  const first = await firstNewSession(pool);
  await pool.end();
  const token = await webhookToken(folder);
  const url = `${system.http}/ingest/v1/audit/default`;
  await send(url, token, first, WARM_UP_SESSIONS, 4);
  const before = readCpu(system.child.pid!, folder);
  const sent = await send(url, token, first + WARM_UP_SESSIONS, SENT_SESSIONS, 4);
  const after = readCpu(system.child.pid!, folder);
  await system.stop();
  const spent = after.main + after.threads + after.postgres - before.main - before.threads - before.postgres;
  return (spent / sent.events) * 1e6;
}

async function measureJobs(folder: string): Promise<Record<string, number>> {
  const system = await startSystem(folder, { WHOCHANGED_ROLES: 'jobs,api' }, 'build');
  const pool = poolOf(folder);
  const started = await pool.query('select coalesce(max(id), 0)::text as id from job_runs');
  const took: Record<string, number> = {};
  for (const job of ['attribute', 'links']) {
    for (let behind = true; behind; await sleep(500)) {
      const { rows } = await pool.query(
        `select seq < (select seq from changes c where c.cluster_id = j.cluster_id order by seq desc limit 1) as behind
           from job_cursors j where job = $1`,
        [job],
      );
      behind = rows.some((row) => row.behind === true);
    }
    const { rows } = await pool.query(
      `select sum(extract(epoch from finished_at - started_at))::float8 * 1000 as ms, sum(rows)::int as rows
         from job_runs where job = $1 and id > $2 and rows > 0`,
      [job, started.rows[0].id],
    );
    if (rows[0].rows > 0) took[job] = (rows[0].ms / rows[0].rows) * 1000;
  }
  await pool.end();
  await system.stop();
  return took;
}

async function measureQuestions(folder: string): Promise<Record<string, number>> {
  const system = await startSystem(folder, { WHOCHANGED_ROLES: 'api' }, 'build');
  const pool = poolOf(folder);
  const questions = await questionsOf(pool);
  const medians: Record<string, number> = {};
  for (const name of ASKED) medians[name] = (await ask(system, folder, questions[name]!, samples)).p50;
  await pool.end();
  await system.stop();
  return medians;
}

const kept = process.env.BENCH_KEEP;
const base = kept ?? (await mkdtemp(join(tmpdir(), 'whochanged-growth-')));
// Postgres runs as another user, who must be able to pass.
await chmod(base, 0o711);
const grown: Grown[] = [];
for (const events of sizes) {
  const folder = join(base, String(events));
  await fillFolder(folder, events);
  const questions = await measureQuestions(folder);
  const ingest = await measureIngest(folder);
  grown.push({ events, ingest, questions, jobs: await measureJobs(folder) });
  if (kept === undefined) await rm(folder, { recursive: true, force: true });
}
if (kept === undefined) await rm(base, { recursive: true, force: true });

const line = (name: string, figures: Array<number | undefined>) =>
  `${name.padEnd(44)}${figures.map((figure) => (figure?.toFixed(1) ?? '-').padStart(12)).join('')}`;
const machine = `${cpus().length} cores (${cpus()[0]?.model}), load ${loadavg()[0]!.toFixed(1)}, Node ${process.version}`;
console.log(machine);
console.log(`${'events'.padEnd(44)}${sizes.map((size) => size.toLocaleString('en').padStart(12)).join('')}`);
console.log(
  line(
    'us of CPU an event ingested',
    grown.map(({ ingest }) => ingest),
  ),
);
for (const name of ASKED)
  console.log(
    line(
      `ms, median: ${name}`,
      grown.map(({ questions }) => questions[name]),
    ),
  );
for (const job of ['attribute', 'links'])
  console.log(
    line(
      `ms of ${job} for 1,000 changes`,
      grown.map(({ jobs }) => jobs[job]),
    ),
  );
await writeFile(
  PICTURE,
  plotSvg(sizes, [
    {
      title: 'CPU an event, \u00b5s',
      lines: [{ name: 'ingest', values: grown.map(({ ingest }) => ingest) }],
    },
    {
      title: 'A question, median ms',
      lines: ASKED.map((name) => ({ name, values: grown.map(({ questions }) => questions[name]) })),
    },
    {
      title: 'Jobs, ms for 1,000 changes',
      lines: ['attribute', 'links'].map((name) => ({ name, values: grown.map(({ jobs }) => jobs[name]) })),
    },
  ]),
);
console.log('picture: docs/growth.svg');
