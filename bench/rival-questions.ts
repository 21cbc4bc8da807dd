import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningSystem, startSystem } from '../test/harness/system.js';
import { ask } from './asked.js';
import { type CopiedEvents, copiedEvents, gigabytes, NotRun } from './copied-events.js';
import { fillFolder, poolOf, SESSIONS } from './filled-ledger.js';
import { askRival, type Cell, type Column, printTable } from './rival-answers.js';
import { openClickhouse } from './rival-clickhouse.js';
import { openDuckdb } from './rival-duckdb.js';
import { openJsonb } from './rival-jsonb.js';
import { openLog } from './rival-log.js';
import { placesOf } from './rival-places.js';
import type { RivalStore } from './rival-store.js';
import { fillVerdicts } from './rival-verdicts.js';
import { writeNdjson } from './rivals.js';
import { type Place, SAME_QUESTIONS } from './same-questions.js';
import { Traffic } from './traffic.js';

/**
 * `npm run bench:rivals -- [events] [samples]`
 * The same questions about the same events, one store after the other: whochanged over HTTP, one jsonb table with a GIN index
 * in the same Postgres, DuckDB and ClickHouse after they have read the events, and `zgrep | jq` over the gzipped log. What is sent to
 * whochanged for real is copied in each of them by one rule (copied-events.ts). Prints p50 and p99 in milliseconds and the
 * most rows that an answer had. What whochanged answers holds more, and redacted: what a write changed, what set it off,
 * its verdict; and it records who asked.
 * BENCH_KEEP=folder keeps all of it there, or takes from there what is there; BENCH_KEEP_RIVALS=no keeps the ledger alone. What
 * isn't kept is deleted as soon as it was asked, before the next is made.
 * BENCH_GREP_EVENTS: at most so many events are read by one zgrep (10 million).
 */
const events = Number(process.argv[2] ?? 1_000_000);
const samples = Number(process.argv[3] ?? 30);
const kept = process.env.BENCH_KEEP;
const keepRivals = kept !== undefined && process.env.BENCH_KEEP_RIVALS !== 'no';
const mostGrepped = Number(process.env.BENCH_GREP_EVENTS ?? 10_000_000);

const started = performance.now();
const say = (text: string) =>
  process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0).padStart(6)} s  ${text}\n`);

/** Of the minute before, which tells whether others used the same cores while it was asked. */
const noteOf = (bytes: number) =>
  `${gigabytes(bytes)}, load ${loadavg()[0]!.toFixed(1)} when it had been asked`;

async function askWhochanged(system: RunningSystem, folder: string, places: Place[]): Promise<Column> {
  const cells = new Map<string, Cell>();
  for (const { name, path } of SAME_QUESTIONS) {
    const { p50, p99, rows } = await ask(system, folder, (i) => path(places[i % places.length]!), samples);
    cells.set(name, { p50, p99, rows, samples });
    say(`whochanged: ${name}: ${p50.toFixed(1)} ms`);
  }
  const pool = poolOf(folder);
  const { rows } = await pool.query<{ bytes: number }>(
    'select pg_database_size(current_database())::float8 as bytes',
  );
  await pool.end();
  return { title: 'whochanged', note: noteOf(rows[0]!.bytes), cells };
}

async function askOther(title: string, open: () => Promise<RivalStore>, places: Place[]): Promise<Column> {
  const cells = new Map<string, Cell>();
  let store: RivalStore;
  try {
    store = await open();
  } catch (error) {
    if (!(error instanceof NotRun)) throw error;
    say(`${title}: not run: ${error.message}`);
    return { title, note: `not run: ${error.message}`, cells };
  }
  say(`${title}: there are all events`);
  for (const { name, rivals } of SAME_QUESTIONS) {
    if (!rivals) continue;
    const cell = await askRival(store, rivals, places, samples);
    cells.set(name, cell);
    say(`${title}: ${name}: ${cell.p50.toFixed(1)} ms`);
  }
  const version = store.version === undefined ? '' : `, ${store.version}`;
  const note = `${noteOf(store.bytes)}${version}`;
  await store.close(keepRivals);
  return { title, note, cells };
}

async function columnsOf(folder: string, system: RunningSystem): Promise<[CopiedEvents, Column[]]> {
  const pool = poolOf(folder);
  const traffic = new Traffic();
  const { rows } = await pool.query<{ events: number }>('select count(*)::int as events from events');
  const copied = copiedEvents(traffic, SESSIONS, join(folder, 'sent.ndjson'), rows[0]!.events);
  await writeNdjson(copied.file, traffic, SESSIONS);
  await fillVerdicts(pool, copied.copies, say);
  const places = await placesOf(pool, copied, samples);
  await pool.end();
  say(`whochanged: there are ${copied.events} events`);
  return [
    copied,
    [
      await askWhochanged(system, folder, places),
      await askOther('jsonb and GIN', () => openJsonb(folder, copied, say), places),
      await askOther('DuckDB', () => openDuckdb(folder, copied, say), places),
      await askOther('ClickHouse', () => openClickhouse(folder, copied, say), places),
      await askOther('zgrep | jq', () => openLog(folder, copied, mostGrepped, say), places),
    ],
  ];
}

const folder = kept ?? (await mkdtemp(join(tmpdir(), 'whochanged-rivals-')));
try {
  await fillFolder(folder, events);
  const system = await startSystem(folder, { WHOCHANGED_ROLES: 'api' }, 'build');
  try {
    const [copied, columns] = await columnsOf(folder, system);
    console.log(`${cpus().length} cores (${cpus()[0]?.model}), Node ${process.version}`);
    console.log(
      `${copied.events.toLocaleString('en')} events in each; p50 and p99 in ms, most rows, samples where they are fewer than ${samples}`,
    );
    printTable(columns, samples);
  } finally {
    await system.stop();
  }
} finally {
  if (kept === undefined) await rm(folder, { recursive: true, force: true });
}
