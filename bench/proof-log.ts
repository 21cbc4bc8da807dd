import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Pool } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { formatCheckpoint } from '../core/log/checkpoint.js';
import { type Leaf, leafHash } from '../core/log/leaf.js';
import { signNote, verifierOf } from '../core/log/note.js';
import { parseProofFile, verifyProofFile } from '../core/log/proof-file.js';
import { type ChangedTile, edgeOf, growTiles, tileKey } from '../core/log/tiles.js';
import { appendCheckpoint, readTreeHead } from '../store/log/checkpoints.js';
import { proveLeaf } from '../store/log/proofs.js';
import { sequencePending } from '../store/log/sequence.js';
import { type RunningSystem, startSystem, webhookToken } from '../test/harness/system.js';
import { costing } from './cpu.js';
import { poolOf } from './filled-ledger.js';
import { send } from './send.js';

/**
 * `npm run bench:proof-log -- [sessions] [rounds] [leaves]`
 * What the proof log costs ingest: the same sessions sent in turn to two whochangeds, one of which leaves the log out
 * (its writer hands nothing to the sequencer), and what sequencing them then takes. Then how long an inclusion proof
 * takes in a log of that many leaves, which are put in by COPY, and proven against their checkpoint: those that are asked
 * for are made anew, the hashes of the others are random bytes. Without sessions only the proofs are measured.
 */
const sessions = Number(process.argv[2] ?? 4);
const rounds = Number(process.argv[3] ?? 4);
const leaves = Number(process.argv[4] ?? 10_000_000);
const SENDERS = 4;
const PROOFS = 2000;
/** As many events as the default batch of an apiserver has. */
const RUN = 400;
const CHUNK = 65_536;

/** Has the built program load its writer with the one line that leaves the log out. */
const LOADER = `export async function load(url, context, next) {
  const loaded = await next(url, context);
  if (!url.endsWith('/store/log/pending.js')) return loaded;
  const source = String(loaded.source).replace(/export async function appendPending\\([^)]*\\) \\{/, '$&return;');
  if (source === String(loaded.source)) throw new Error('appendPending is not where it was');
  return { ...loaded, source };
}`;
const asURL = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
const WITHOUT = `--import=${asURL(`import { register } from 'node:module'; register(${JSON.stringify(asURL(LOADER))});`)}`;

interface Target {
  system: RunningSystem;
  folder: string;
  pool: Pool;
  url: string;
  token: string;
  seconds: number[];
  micros: number[];
}

async function startTarget(options: Record<string, string>): Promise<Target> {
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-bench-'));
  await chmod(folder, 0o711);
  const system = await startSystem(folder, { WHOCHANGED_ROLES: 'ingest,api', ...options }, 'build');
  const pool = poolOf(folder);
  const url = `${system.http}/ingest/v1/audit/default`;
  return { system, folder, pool, url, token: await webhookToken(folder), seconds: [], micros: [] };
}

async function stopTarget({ system, pool, folder }: Target): Promise<void> {
  await pool.end();
  await system.stop();
  await rm(folder, { recursive: true, force: true });
}

const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function measureOverhead(): Promise<void> {
  const with_ = await startTarget({});
  const without = await startTarget({ NODE_OPTIONS: WITHOUT });
  await Promise.all([with_, without].map(({ url, token }) => send(url, token, 100_000, 2, SENDERS)));
  for (let round = 0; round < rounds; round++)
    // Now the one first, now the other.
    for (const target of round % 2 === 0 ? [with_, without] : [without, with_]) {
      const { seconds, events, micros } = await costing(target.system.child.pid!, target.folder, () =>
        send(target.url, target.token, round * sessions, sessions, SENDERS),
      );
      target.seconds.push((seconds / events) * 1e6);
      target.micros.push(micros);
    }
  const waiting = async ({ pool }: Target) =>
    Number(
      (await pool.query('select coalesce(sum(octet_length(records) / 44), 0) as n from log_pending')).rows[0]
        .n,
    );
  if ((await waiting(without)) > 0) throw new Error('the log was not left out');
  const pending = await waiting(with_);
  const client = await with_.pool.connect();
  const started = performance.now();
  const sequencing = await costing(process.pid, with_.folder, async () => {
    let events = 0;
    for (let n = await sequencePending(client, 64); n > 0; n = await sequencePending(client, 64)) events += n;
    return { events };
  });
  const sequencingMicros = ((performance.now() - started) * 1000) / sequencing.events;
  client.release();
  if (sequencing.events !== pending)
    throw new Error(`${pending} waited, ${sequencing.events} were sequenced`);
  const percent = (a: number, b: number) => `${((a / b - 1) * 100).toFixed(1)} %`;
  const wall = with_.seconds.map((value, i) => value / without.seconds[i]!);
  const cpu = with_.micros.map((value, i) => value / without.micros[i]!);
  const more = (ratios: number[]) => ratios.map((ratio) => percent(ratio, 1)).join(', ');
  console.log(
    `ingest       CPU ${median(with_.micros).toFixed(1)} us an event with the log, ${median(without.micros).toFixed(1)} without; wall ${median(with_.seconds).toFixed(0)} and ${median(without.seconds).toFixed(0)} us`,
  );
  console.log(`  overhead   CPU ${more(cpu)}; median ${percent(median(cpu), 1)}`);
  console.log(`             wall ${more(wall)}; median ${percent(median(wall), 1)}`);
  console.log(
    `sequencing   ${sequencing.events} leaves, ${sequencing.micros.toFixed(1)} us of CPU and ${sequencingMicros.toFixed(1)} us each`,
  );
  console.log(
    `  together   CPU ${percent(median(cpu) + sequencing.micros / median(without.micros), 1)} of ingest without the log`,
  );
  await stopTarget(with_);
  await stopTarget(without);
}

function leafAt(index: number): Leaf {
  const digest = createHash('sha256').update(String(index)).digest();
  return { type: 'event', cluster: 'bench', origin: 'bench', seq: index + 1, at: index * 1000, digest };
}

/** Hashes of the leaves from one place on: real ones of those that will be proven. */
function hashesFrom(start: number, count: number, proven: ReadonlySet<number>): Buffer[] {
  const random = randomBytes(count * 32);
  return Array.from({ length: count }, (_, i) =>
    proven.has(start + i) ? leafHash(leafAt(start + i)) : random.subarray(i * 32, (i + 1) * 32),
  );
}

async function fillLog(pool: Pool, proven: ReadonlySet<number>): Promise<void> {
  const client = await pool.connect();
  let edge = new Map<string, Buffer>();
  const line = ({ level, index, hashes }: ChangedTile) =>
    `${level}\t${index}\t\\\\x${hashes.toString('hex')}\n`;
  async function* tiles(): AsyncGenerator<string> {
    for (let size = 0; size < leaves; ) {
      const count = Math.min(CHUNK, leaves - size);
      const changed = growTiles(size, edge, hashesFrom(size, count, proven));
      size += count;
      const partial = new Set(edgeOf(size).map(tileKey));
      const kept = new Map<string, Buffer>();
      for (const tile of changed) {
        if (partial.has(tileKey(tile))) kept.set(tileKey(tile), tile.hashes);
        else yield line(tile);
      }
      for (const key of partial) {
        const hashes = kept.get(key) ?? edge.get(key);
        if (hashes) kept.set(key, hashes);
      }
      edge = kept;
    }
    for (const [key, hashes] of edge) {
      const [level, index] = key.split('/').map(Number) as [number, number];
      yield line({ level, index, hashes });
    }
  }
  function* runs(): Generator<string> {
    for (let first = 0; first < leaves; first += RUN)
      yield `${first}\t${Math.min(RUN, leaves - first)}\tevent\t1\t${first + 1}\n`;
  }
  const copy = (table: string, rows: Iterable<string> | AsyncIterable<string>) =>
    pipeline(Readable.from(rows), client.query(copyFrom(`copy ${table} from stdin`)));
  await copy('log_tiles (level, index, hashes)', tiles());
  await copy('log_runs (first_index, count, type, cluster_id, first_seq)', runs());
  await client.query('update log_size set size = $1', [leaves]);
  await client.query('analyze log_tiles, log_runs');
  client.release();
}

async function measureProofs(): Promise<void> {
  const target = await startTarget({});
  const { pool } = target;
  const keys = generateKeyPairSync('ed25519');
  const origin = 'bench/log';
  const indices = Array.from({ length: PROOFS }, () => Math.floor(Math.random() * leaves));
  await fillLog(pool, new Set(indices));
  const { size, root } = await readTreeHead(pool);
  const text = formatCheckpoint({ origin, size, root, extensions: [] });
  const note = `${text}\n${signNote(text, origin, keys.privateKey)}`;
  await appendCheckpoint(pool, { size, root, note, signedAt: new Date() });
  const client = await pool.connect();
  const times: number[] = [];
  let micros = 0;
  for (const [n, index] of indices.entries()) {
    if (n === 100) {
      // The first ones fill caches.
      times.length = 0;
      micros = 0;
    }
    const leaf = leafAt(index);
    const started = performance.now();
    const before = process.cpuUsage();
    const { file } = await proveLeaf(client, 1, leaf);
    const { user, system } = process.cpuUsage(before);
    micros += user + system;
    times.push(performance.now() - started);
    const checked = verifyProofFile(parseProofFile(file), leafHash(leaf), [
      verifierOf(origin, keys.publicKey),
    ]);
    if (!checked.ok) throw new Error(`the proof of leaf ${leaf.seq - 1} does not hold: ${checked.reason}`);
  }
  client.release();
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)]!.toFixed(2);
  console.log(
    `proof        p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, worst ${times.at(-1)!.toFixed(2)} ms of ${times.length} in a log of ${size} leaves, each verified; CPU ${(micros / times.length / 1000).toFixed(2)} ms beside Postgres`,
  );
  await stopTarget(target);
}

console.log(
  `${cpus().length} cores (${cpus()[0]?.model}), load ${loadavg()[0]!.toFixed(1)}, Node ${process.version}`,
);
if (sessions > 0) await measureOverhead();
await measureProofs();
