import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSystem } from '../test/harness/system.js';
import { ask, questionsOf } from './asked.js';
import { fillFolder, poolOf } from './filled-ledger.js';

/**
 * `npm run bench:questions -- [events] [samples]`
 * What users ask, over HTTP, of a ledger of this many events: p50, p99 and the slowest, each sample at another place.
 * BENCH_KEEP=folder keeps the filled ledger there, or takes it from there.
 */
const events = Number(process.argv[2] ?? 5_000_000);
const samples = Number(process.argv[3] ?? 100);
const kept = process.env.BENCH_KEEP;
const folder = kept ?? (await mkdtemp(join(tmpdir(), 'whochanged-questions-')));

await fillFolder(folder, events);
const system = await startSystem(folder, { WHOCHANGED_ROLES: 'api' }, 'build');
const pool = poolOf(folder);
const { rows } = await pool.query(
  'select (select count(*) from events)::int as events, (select count(*) from changes)::int as changes',
);
console.log(
  `${cpus().length} cores (${cpus()[0]?.model}), load ${loadavg()[0]!.toFixed(1)}, Node ${process.version}`,
);
console.log(`${rows[0].events.toLocaleString('en')} events, ${rows[0].changes.toLocaleString('en')} changes`);
console.log(
  `${'question'.padEnd(34)}${'p50 ms'.padStart(8)}${'p99 ms'.padStart(8)}${'max ms'.padStart(8)}  rows`,
);
for (const [name, path] of Object.entries(await questionsOf(pool))) {
  const asked = await ask(system, folder, path, samples);
  const figures = [asked.p50, asked.p99, asked.max].map((ms) => ms.toFixed(1).padStart(8)).join('');
  console.log(`${name.padEnd(34)}${figures}  ${asked.rows}`);
}
await pool.end();
await system.stop();
if (kept === undefined) await rm(folder, { recursive: true, force: true });
