import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { parquetWriteBuffer } from 'hyparquet-writer';
import type { Pool, PoolClient } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { decodeEvent } from '../core/decode.js';
import type { Traffic } from './traffic.js';

/** What else could be done with the same audit events, and what it costs. */
export interface Rival {
  name: string;
  /** Absent where nothing was timed. */
  eventsPerSecond?: number;
  bytes: number;
}

/** Writes the sessions as the apiserver's audit log would hold them: one event a line. Returns the number of events. */
export async function writeNdjson(file: string, traffic: Traffic, sessions: number): Promise<number> {
  let events = 0;
  async function* lines() {
    for (let n = 0; n < sessions; n++) {
      const session = traffic.session(n);
      events += session.length;
      yield `${session.join('\n')}\n`;
    }
  }
  await pipeline(Readable.from(lines()), createWriteStream(file));
  return events;
}

/** One jsonb column: the table that is made first. */
export async function createNaive(client: PoolClient): Promise<void> {
  await client.query('create table naive (event jsonb not null)');
}

/** A GIN index on it. Returns its name. */
export async function indexNaive(client: PoolClient): Promise<string> {
  await client.query('create index naive_event on naive using gin (event jsonb_path_ops)');
  return 'naive_event';
}

/** Adds a file's events by one COPY. */
export async function copyIntoNaive(client: PoolClient, file: string): Promise<void> {
  // These two can't occur in JSON text, so that every line is one column, taken as it is.
  const copy = client.query(
    copyFrom(`copy naive from stdin with (format csv, delimiter e'\\x01', quote e'\\x02')`),
  );
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), copy);
}

/** What that takes on disk, and how fast it was filled, its index being there. */
export async function naiveTable(pool: Pool, file: string, events: number): Promise<Rival> {
  const client = await pool.connect();
  await createNaive(client);
  await indexNaive(client);
  const started = performance.now();
  await copyIntoNaive(client, file);
  const seconds = (performance.now() - started) / 1000;
  const { rows } = await client.query<{ bytes: number }>(
    `select pg_total_relation_size('naive')::float8 as bytes`,
  );
  await client.query('drop table naive');
  client.release();
  return { name: 'jsonb and GIN', eventsPerSecond: events / seconds, bytes: rows[0]!.bytes };
}

/** The members of an Event (audit.k8s.io/v1) as columns. */
const DUCKDB_COLUMNS = [
  ...['level', 'auditID', 'stage', 'requestURI', 'verb', 'userAgent'].map((name) => [name, 'VARCHAR']),
  ...['requestReceivedTimestamp', 'stageTimestamp'].map((name) => [name, 'TIMESTAMP']),
  ...['user', 'impersonatedUser', 'sourceIPs', 'objectRef', 'responseStatus', 'annotations'].map((name) => [
    name,
    'JSON',
  ]),
  ...['requestObject', 'responseObject'].map((name) => [name, 'JSON']),
];

/** DuckDB with the NDJSON read into a table of its own, without an index: a column for each member of an Event. */
export async function fillDuckdb(connection: DuckDBConnection, file: string): Promise<void> {
  const columns = DUCKDB_COLUMNS.map(([name, type]) => `'${name}': '${type}'`).join(', ');
  await connection.run(
    `create table events as select * from read_json('${file}', format = 'newline_delimited', maximum_object_size = 33554432, columns = {${columns}})`,
  );
  await connection.run('checkpoint');
}

/** What that takes on disk, and how fast it was filled. */
export async function duckdb(folder: string, file: string, events: number): Promise<Rival> {
  const path = join(folder, 'rival.duckdb');
  const instance = await DuckDBInstance.create(path, { threads: '2' });
  const connection = await instance.connect();
  const started = performance.now();
  await fillDuckdb(connection, file);
  const seconds = (performance.now() - started) / 1000;
  connection.closeSync();
  instance.closeSync();
  return { name: 'DuckDB', eventsPerSecond: events / seconds, bytes: (await stat(path)).size };
}

/** The NDJSON through gzip, level 6. */
export async function gzipped(file: string): Promise<Rival> {
  let bytes = 0;
  await pipeline(createReadStream(file), createGzip(), async (source) => {
    for await (const chunk of source) bytes += (chunk as Buffer).length;
  });
  return { name: 'gzip', bytes };
}

/** Parquet of the unredacted events, a row group a session, bodies as JSON text, sorted as they came. */
export function parquet(traffic: Traffic, sessions: number): Rival {
  let bytes = 0;
  for (let n = 0; n < sessions; n++) {
    const events = traffic.session(n).map((line) => decodeEvent(JSON.parse(line)));
    const column = (name: string, data: Array<string | undefined>) => ({
      name,
      data,
      type: 'STRING' as const,
      nullable: true,
    });
    const json = (value: unknown) => (value === undefined ? undefined : JSON.stringify(value));
    bytes += parquetWriteBuffer({
      columnData: [
        { name: 'at', data: events.map((e) => BigInt(e.requestReceivedTimestamp)), type: 'INT64' },
        { name: 'stage_at', data: events.map((e) => BigInt(e.stageTimestamp)), type: 'INT64' },
        { name: 'code', data: events.map((e) => e.responseStatus?.code), type: 'INT32', nullable: true },
        column(
          'audit_id',
          events.map((e) => e.auditID),
        ),
        column(
          'stage',
          events.map((e) => e.stage),
        ),
        column(
          'level',
          events.map((e) => e.level),
        ),
        column(
          'verb',
          events.map((e) => e.verb),
        ),
        column(
          'request_uri',
          events.map((e) => e.requestURI),
        ),
        column(
          'user',
          events.map((e) => json(e.user)),
        ),
        column(
          'impersonated_user',
          events.map((e) => json(e.impersonatedUser)),
        ),
        column(
          'user_agent',
          events.map((e) => e.userAgent),
        ),
        column(
          'source_ips',
          events.map((e) => json(e.sourceIPs)),
        ),
        column(
          'object_ref',
          events.map((e) => json(e.objectRef)),
        ),
        column(
          'status',
          events.map((e) => json(e.responseStatus)),
        ),
        column(
          'annotations',
          events.map((e) => json(e.annotations)),
        ),
        column(
          'request_object',
          events.map((e) => json(e.requestObject)),
        ),
        column(
          'response_object',
          events.map((e) => json(e.responseObject)),
        ),
      ],
    }).byteLength;
  }
  return { name: 'Parquet (Snappy)', bytes };
}
