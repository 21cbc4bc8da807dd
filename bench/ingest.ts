import { createReadStream, createWriteStream, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm, stat } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import type { Pool } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { compactPartition } from '../store/compaction.js';
import { sequencePending } from '../store/log/sequence.js';
import { PARTITIONED } from '../store/partitions.js';
import { CREDENTIALS, startS3 } from '../test/harness/s3.js';
import { startSystem, webhookToken } from '../test/harness/system.js';
import { askAsAdmin, backfill, packed, upload } from './bucket.js';
import { NO_CLICKHOUSE } from './clickhouse.js';
import { clickhouse } from './clickhouse-table.js';
import { costing } from './cpu.js';
import { poolOf } from './filled-ledger.js';
import { duckdb, gzipped, naiveTable, parquet, type Rival, writeNdjson } from './rivals.js';
import { send } from './send.js';
import { Traffic } from './traffic.js';

/**
 * `npm run bench:ingest -- [sessions] [senders] [--rivals]`
 * Sustained ingest through the webhook into an empty ledger, then the same events again out of a bucket into another
 * cluster of it, against a bare COPY of the very rows they made into the same indexed tables of the same Postgres, in one
 * run. Prints ratios, and the CPU that an event costs, which tells more than the rate where the machine is busy with other
 * things. Several numbers of senders (`1,4,16`) run one after another into the same ledger; what the first of them sent is
 * in the bucket. After each as many again, at 70 % of the rate it reached. `--rivals` compares with bench/rivals.ts besides. BENCH_MIX=lean: bench/traffic.ts.
 */
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { rivals: { type: 'boolean', default: false } },
});
const sessions = Number(positionals[0] ?? 40);
const senders = (positionals[1] ?? '4').split(',').map(Number);
const traffic = new Traffic({ lean: process.env.BENCH_MIX === 'lean' });
/** Sessions sent before anything is measured: V8 compiles, on the same cores, for the first hundred thousand events. */
const WARM_UP = 16;
/** Of the best rate: how much an operator may plan with. */
const PACED_SHARE = 0.7;
const RIVAL_SESSIONS = 8;
const TABLES = [
  'users',
  'user_agents',
  'objects',
  'authorizations',
  'object_uids',
  'bodies',
  'body_packs',
  'event_rows',
  'event_contexts',
  'changes',
];

async function bareCopy(pool: Pool, folder: string): Promise<number> {
  const client = await pool.connect();
  const columns = async (table: string) =>
    (
      await client.query(
        `select string_agg(quote_ident(attname), ',' order by attnum) as list from pg_attribute where attrelid = $1::regclass and attnum > 0`,
        [table],
      )
    ).rows[0].list as string;
  for (const table of TABLES)
    await pipeline(
      client.query(copyTo(`copy (select ${await columns(table)} from ${table}) to stdout (format binary)`)),
      createWriteStream(join(folder, table)),
    );
  await client.query(`truncate ${TABLES.join(', ')}`);
  // Counting hours is ours, not the bare COPY's.
  await client.query('alter table changes disable trigger user');
  await client.query('checkpoint');
  const started = performance.now();
  for (const table of TABLES)
    await pipeline(
      createReadStream(join(folder, table), { highWaterMark: 1 << 20 }),
      client.query(copyFrom(`copy ${table} (${await columns(table)}) from stdin (format binary)`)),
    );
  const seconds = (performance.now() - started) / 1000;
  client.release();
  return seconds;
}

/** Bytes of each table and index, partitions added up. */
async function sizes(pool: Pool): Promise<Array<{ name: string; bytes: number }>> {
  const { rows } = await pool.query<{ name: string; bytes: number }>(
    `select coalesce(root.relname, c.relname) as name,
            sum(pg_relation_size(c.oid) + case when c.relkind = 'r' then coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) else 0 end)::float8 as bytes
       from pg_class c
       left join lateral (select relname from pg_class where oid = pg_partition_root(c.oid)) root on true
      where c.relkind in ('r', 'i') and c.relnamespace = 'public'::regnamespace
      group by 1 order by 2 desc`,
  );
  return rows;
}

async function databaseBytes(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ bytes: number }>(
    'select pg_database_size(current_database())::float8 as bytes',
  );
  return rows[0]!.bytes;
}

/** What jobs do in time: leaves go into the proof log's tiles, and a month that is over has its indexes built anew. */
async function settle(pool: Pool): Promise<void> {
  const client = await pool.connect();
  while ((await sequencePending(client, 64)) > 0);
  await client.query('vacuum log_pending');
  const { rows } = await client.query<{ name: string }>(
    `select inhrelid::regclass::text as name from pg_inherits where inhparent = any($1::regclass[])`,
    [PARTITIONED],
  );
  for (const { name } of rows) await compactPartition(client, name, new AbortController().signal);
  client.release();
}

const folder = await mkdtemp(join(tmpdir(), 'whochanged-bench-'));
await chmod(folder, 0o711);
const system = await startSystem(
  folder,
  {
    WHOCHANGED_ROLES: process.env.BENCH_ROLES ?? 'ingest,api',
    ...CREDENTIALS,
    ...(process.env.BENCH_NODE_OPTIONS && { NODE_OPTIONS: process.env.BENCH_NODE_OPTIONS }),
  },
  'build',
);
const pool = poolOf(folder);
/** Catalogs, and the tables and indexes of which each takes a page or two. */
const empty = await databaseBytes(pool);
const url = `${system.http}/ingest/v1/audit/default`;
const token = await webhookToken(folder);
await send(url, token, 100_000, WARM_UP, 4);
const runs: string[] = [];
let sentEvents = 0;
let sentBytes = 0;
let best = 0;
let cheapest = Number.POSITIVE_INFINITY;
let sentRuns = 0;
const run = async (connections: number, pace?: number) => {
  const sent = await costing(system.child.pid!, folder, () =>
    send(url, token, sentRuns++ * sessions, sessions, connections, pace),
  );
  sentEvents += sent.events;
  sentBytes += sent.bytes;
  const rate = sent.events / sent.seconds;
  const what =
    pace === undefined ? `${String(connections).padStart(2)} senders   ` : `  at ${100 * PACED_SHARE} %    `;
  runs.push(
    `${what}${Math.round(rate)} events/s, ack p50 ${sent.p50.toFixed(0)} ms, p99 ${sent.p99.toFixed(0)} ms; ${sent.cost}`,
  );
  return { rate, micros: sent.micros };
};
for (const connections of senders) {
  const { rate, micros } = await run(connections);
  best = Math.max(best, rate);
  cheapest = Math.min(cheapest, micros);
  await run(connections, PACED_SHARE * rate);
}
const s3 = await startS3();
const bucket = await s3.createBucket();
await upload(s3, bucket, packed(traffic, Array(sessions).keys()));
const read = await costing(system.child.pid!, folder, () =>
  backfill(askAsAdmin(system, folder), s3, bucket, 'bucket'),
);
await s3.stop();
if (read.events !== sentEvents / sentRuns || read.duplicates + read.quarantined > 0)
  throw new Error(`sent ${sentEvents} events, read ${JSON.stringify(read)}`);
const readRate = read.events / read.seconds;
runs.push(
  `bucket       ${Math.round(readRate)} events/s in ${read.found} gzip objects, listing included; ${read.cost}`,
);
const rawBytes = sentBytes / sentEvents;
const peakRss =
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${system.child.pid}/status`, 'utf8'))?.[1]) / 1024;
const { rows } = await pool.query(
  'select (select count(*) from events)::int as events, (select count(*) from changes)::int as changes',
);
const total = rows[0] as { events: number; changes: number };
const fresh = (await databaseBytes(pool)) - empty;
await settle(pool);
const settled = (await databaseBytes(pool)) - empty;
const relations = await sizes(pool);
const bare = await bareCopy(pool, folder);
const rivals: Rival[] = [];
let rivalEvents = 0;
if (flags.rivals) {
  const file = join(folder, 'events.ndjson');
  rivalEvents = await writeNdjson(file, traffic, RIVAL_SESSIONS);
  rivals.push({ name: 'raw NDJSON', bytes: (await stat(file)).size });
  rivals.push(await gzipped(file));
  rivals.push(await naiveTable(pool, file, rivalEvents));
  rivals.push(await duckdb(folder, file, rivalEvents));
  for (const compression of ['lz4', 'zstd'] as const) {
    const rival = await clickhouse(folder, file, rivalEvents, compression);
    if (rival) rivals.push(rival);
    else process.stderr.write(`ClickHouse: not run: ${NO_CLICKHOUSE}\n`);
  }
  rivals.push(parquet(traffic, RIVAL_SESSIONS));
}
await pool.end();
await system.stop();
await rm(folder, { recursive: true, force: true });

const bareRate = total.events / bare;
const bytesOf = (bytes: number) =>
  `${Math.round(bytes / total.events)} bytes an event with indexes, ${(bytes / total.events / rawBytes).toFixed(2)} of raw`;
console.log(
  `${cpus().length} cores (${cpus()[0]?.model}), load ${loadavg()[0]!.toFixed(1)}, Node ${process.version}`,
);
console.log(
  `events ${total.events} (mean ${Math.round(rawBytes)} bytes), ${total.changes} changes, peak RSS ${peakRss.toFixed(0)} MB`,
);
for (const run of runs) console.log(run);
console.log(`bare COPY    ${Math.round(bareRate)} events/s of the same rows into the same indexed tables`);
console.log(
  `ratio        ${(best / bareRate).toFixed(2)} of bare COPY by the webhook at its best, ${(readRate / bareRate).toFixed(2)} from the bucket`,
);
console.log(
  `bucket       ${(readRate / best).toFixed(2)} of the webhook's best rate, ${(read.micros / cheapest).toFixed(2)} of its least CPU an event`,
);
console.log(
  `on disk      ${bytesOf(fresh)}, besides ${(empty / 1024 ** 2).toFixed(0)} MB of an empty ledger`,
);
console.log(`  once a month is over       ${bytesOf(settled)}:`);
for (const { name, bytes } of relations.filter((row) => row.bytes / total.events >= 1))
  console.log(`  ${name.padEnd(28)}${(bytes / total.events).toFixed(1).padStart(8)} bytes an event`);
for (const { name, eventsPerSecond, bytes } of rivals) {
  const rate = eventsPerSecond === undefined ? '' : `, ${Math.round(eventsPerSecond)} events/s`;
  console.log(`${name.padEnd(26)}${(bytes / rivalEvents).toFixed(0).padStart(6)} bytes an event${rate}`);
}
