import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DuckDBInstance } from '@duckdb/node-api';
import { startSystem } from '../test/harness/system.js';
import { ask, percentiles, timesOf } from './asked.js';
import { ingestSessions, poolOf } from './filled-ledger.js';
import { fillDuckdb, fillNaive, writeNdjson } from './rivals.js';
import { type Place, SAME_QUESTIONS, type SameQuestion } from './same-questions.js';
import { Traffic } from './traffic.js';

/**
 * `npm run bench:rivals -- [sessions] [samples]`
 * The same questions about the same events: whochanged over HTTP, one jsonb table with a GIN index in the same Postgres,
 * DuckDB after it has read the NDJSON, and `zgrep | jq` over the gzipped log (of which a few samples must do). Prints p50 and
 * p99 in milliseconds and how many rows came. What whochanged answers holds more, and redacted: what a write changed, what
 * set it off, its verdict; and it records who asked.
 */
const sessions = Number(process.argv[2] ?? 100);
const samples = Number(process.argv[3] ?? 30);
const GREP_SAMPLES = 2;
const LIMIT = 50;

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), 'whochanged-rivals-'));
await ingestSessions(folder, sessions);
const file = join(folder, 'audit.log');
const events = await writeNdjson(file, new Traffic(), sessions);
const system = await startSystem(folder, { WHOCHANGED_ROLES: 'api' }, 'build');
const pool = poolOf(folder);
const client = await pool.connect();
const instance = await DuckDBInstance.create(join(folder, 'rival.duckdb'), { threads: '2' });
const duck = await instance.connect();
await fillNaive(client, file);
await client.query('vacuum analyze');
await fillDuckdb(duck, file);
await run('gzip', [file]);

const { rows: places } = await client.query<Place>(
  `select (select namespace from objects where resource = 'deployments' and name = 'web' order by md5(namespace || n) limit 1) as namespace,
          (select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') from changes where cluster_id = 1 order by md5(change_id::text || n) limit 1) as at,
          (select audit_id from events where cluster_id = 1 order by md5(audit_id || n) limit 1) as "auditID"
     from generate_series(1, 10) n`,
);
const placeOf = (i: number) => places[i % places.length]!;

async function naive(question: SameQuestion, place: Place): Promise<number> {
  const { contains, where = 'true', select = 'event', limit = LIMIT } = question.naive(place);
  const { rows } = await client.query(
    `select ${select} from naive where event @> $1 and ${where} order by event->>'requestReceivedTimestamp' desc limit ${limit}`,
    [contains],
  );
  return rows.length;
}

async function duckdb(question: SameQuestion, place: Place): Promise<number> {
  const { where, select = '*', limit = LIMIT } = question.duckdb(place);
  const reader = await duck.runAndReadAll(
    `select ${select} from events where ${where} order by requestReceivedTimestamp desc limit ${limit}`,
  );
  return reader.currentRowCount;
}

async function grep(question: SameQuestion, place: Place): Promise<number> {
  const { words, select } = question.grep(place);
  const script = 'zgrep -F "$1" "$2" | jq -c "select($3)" | tail -n "$4"';
  const { stdout } = await run('bash', ['-c', script, 'bash', words, `${file}.gz`, select, String(LIMIT)], {
    maxBuffer: 1 << 30,
  });
  return stdout.split('\n').length - 1;
}

console.log(
  `${cpus().length} cores (${cpus()[0]?.model}), load ${loadavg()[0]!.toFixed(1)}, Node ${process.version}`,
);
console.log(`${events.toLocaleString('en')} events; p50 and p99 in ms, rows`);
const ways = [
  [samples, naive],
  [samples, duckdb],
  [GREP_SAMPLES, grep],
] as const;
const cell = (p50: number, p99: number, rows: number) =>
  `${p50.toFixed(p50 < 100 ? 1 : 0).padStart(9)}${p99.toFixed(p99 < 100 ? 1 : 0).padStart(9)}${String(rows).padStart(4)}`;
console.log(
  ['question', 'whochanged', 'jsonb and GIN', 'DuckDB', 'zgrep | jq']
    .map((title, i) => (i === 0 ? title.padEnd(28) : title.padStart(22)))
    .join(''),
);
for (const question of SAME_QUESTIONS) {
  const asked = await ask(system, folder, (i) => question.path(placeOf(i)), samples);
  let line = question.name.padEnd(28) + cell(asked.p50, asked.p99, asked.rows);
  for (const [count, way] of ways) {
    let most = 0;
    const took = await timesOf(count, async (i) => {
      most = Math.max(most, await way(question, placeOf(i)));
      return undefined;
    });
    const { p50, p99 } = percentiles(took);
    line += cell(p50, p99, most);
  }
  console.log(line);
}
client.release();
await pool.end();
duck.closeSync();
instance.closeSync();
await system.stop();
await rm(folder, { recursive: true, force: true });
