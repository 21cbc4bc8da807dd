import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { AuditEvent } from '../core/audit-event.js';
import { decodeEvent } from '../core/decode.js';
import {
  type ClickHouse,
  type Compression,
  clickhouseCommand,
  removeClickhouse,
  startClickhouse,
} from './clickhouse.js';
import type { Rival } from './rivals.js';

type Column = { name: string } & (
  | { type: 'String' | 'LowCardinality(String)'; of(event: AuditEvent): string | undefined }
  | { type: 'UInt16'; of(event: AuditEvent): number | undefined }
  | { type: 'UInt64'; of(event: AuditEvent): number | undefined }
);

const json = (value: unknown) => (value === undefined ? undefined : JSON.stringify(value));
const repeated = (name: string, of: (event: AuditEvent) => string | undefined): Column => ({
  name,
  type: 'LowCardinality(String)',
  of,
});
const text = (name: string, of: (event: AuditEvent) => string | undefined): Column => ({
  name,
  type: 'String',
  of,
});

/**
 * The members of an Event (audit.k8s.io/v1) as columns, those that questions are about in columns of their own: 18.16 can't
 * look into JSON. Times are microseconds: it has none finer than seconds. What is absent is empty, or 0.
 */
const COLUMNS: readonly Column[] = [
  { name: 'requestReceivedTimestamp', type: 'UInt64', of: (e) => e.requestReceivedTimestamp },
  { name: 'stageTimestamp', type: 'UInt64', of: (e) => e.stageTimestamp },
  repeated('level', (e) => e.level),
  text('auditID', (e) => e.auditID),
  repeated('stage', (e) => e.stage),
  text('requestURI', (e) => e.requestURI),
  repeated('verb', (e) => e.verb),
  repeated('username', (e) => e.user.username),
  repeated('user', (e) => json(e.user)),
  repeated('impersonatedUser', (e) => json(e.impersonatedUser)),
  repeated('sourceIPs', (e) => json(e.sourceIPs)),
  repeated('userAgent', (e) => e.userAgent),
  repeated('apiGroup', (e) => e.objectRef?.apiGroup),
  repeated('apiVersion', (e) => e.objectRef?.apiVersion),
  repeated('resource', (e) => e.objectRef?.resource),
  repeated('subresource', (e) => e.objectRef?.subresource),
  repeated('namespace', (e) => e.objectRef?.namespace),
  text('name', (e) => e.objectRef?.name),
  text('uid', (e) => e.objectRef?.uid),
  text('resourceVersion', (e) => e.objectRef?.resourceVersion),
  { name: 'code', type: 'UInt16', of: (e) => e.responseStatus?.code },
  repeated('responseStatus', (e) => json(e.responseStatus)),
  repeated('annotations', (e) => json(e.annotations)),
  text('requestObject', (e) => json(e.requestObject)),
  text('responseObject', (e) => json(e.responseObject)),
];

export const CLICKHOUSE_COLUMNS: readonly string[] = COLUMNS.map(({ name }) => name);

/** Rows that are sent together, in bytes: some 50,000 events. */
const BATCH_BYTES = 64 << 20;
/** The most that one row takes: the traffic's longest line, flattened. */
const ROW_BYTES = 1 << 20;

/** Makes a table for events, sorted by time, a partition a month. */
export async function createEvents(server: ClickHouse, table: string): Promise<void> {
  const columns = COLUMNS.map(({ name, type }) => `${name} ${type}`).join(', ');
  await server.run(
    `create table ${table} (${columns}) engine = MergeTree
       partition by toYYYYMM(toDateTime(intDiv(requestReceivedTimestamp, 1000000))) order by requestReceivedTimestamp`,
  );
}

/** Adds a file's events, one JSON text a line. Returns how long the inserts took in seconds, their rows being ready. */
export async function insertEvents(server: ClickHouse, table: string, file: string): Promise<number> {
  const rows = new RowBinary();
  let ms = 0;
  const send = async () => {
    const started = performance.now();
    await server.run(`insert into ${table} format RowBinary`, rows.take());
    ms += performance.now() - started;
  };
  for await (const line of createInterface({ input: createReadStream(file) })) {
    rows.add(decodeEvent(JSON.parse(line)));
    if (rows.full) await send();
  }
  if (!rows.empty) await send();
  return ms / 1000;
}

/** Makes one part of each partition. One after the other, so that no answer has to be waited for too long. */
export async function mergeEvents(server: ClickHouse, table: string): Promise<void> {
  const partitions = await server.run(
    `select distinct partition from system.parts where active and table = '${table}' order by partition`,
  );
  for (const partition of partitions.trim().split('\n'))
    await server.run(`optimize table ${table} partition ${partition} final`);
}

/** What a table takes on disk. */
export async function bytesOf(server: ClickHouse, table: string): Promise<number> {
  return Number(
    await server.run(`select sum(bytes_on_disk) from system.parts where active and table = '${table}'`),
  );
}

/** What storing a file's events takes on disk, its parts merged, and how fast they were inserted. Undefined where there is no ClickHouse. */
export async function clickhouse(
  folder: string,
  file: string,
  events: number,
  compression: Compression,
): Promise<Rival | undefined> {
  if (!clickhouseCommand()) return undefined;
  const own = join(folder, 'rival-clickhouse');
  const server = await startClickhouse(own, compression);
  try {
    await createEvents(server, 'events');
    const seconds = await insertEvents(server, 'events', file);
    await mergeEvents(server, 'events');
    const stored = Number(await server.run('select count() from events'));
    if (stored !== events) throw new Error(`ClickHouse holds ${stored} events instead of ${events}`);
    return {
      name: `ClickHouse ${server.version}, ${compression}`,
      eventsPerSecond: events / seconds,
      bytes: await bytesOf(server, 'events'),
    };
  } finally {
    await server.stop();
    await removeClickhouse(own);
  }
}

/** Rows in the format of that name: what is fixed in little-endian order, strings with their lengths before them. */
class RowBinary {
  readonly #buffer = Buffer.allocUnsafe(BATCH_BYTES + ROW_BYTES);
  #end = 0;

  get empty(): boolean {
    return this.#end === 0;
  }

  get full(): boolean {
    return this.#end >= BATCH_BYTES;
  }

  add(event: AuditEvent): void {
    for (const column of COLUMNS) {
      if (column.type === 'UInt64')
        this.#end = this.#buffer.writeBigUInt64LE(BigInt(column.of(event) ?? 0), this.#end);
      else if (column.type === 'UInt16')
        this.#end = this.#buffer.writeUInt16LE(column.of(event) ?? 0, this.#end);
      else this.#string(column.of(event) ?? '');
    }
  }

  /** What was added, valid until more is. */
  take(): Uint8Array {
    const rows = this.#buffer.subarray(0, this.#end);
    this.#end = 0;
    return rows;
  }

  #string(value: string): void {
    let length = Buffer.byteLength(value);
    // LEB128: seven bits a byte, the least first.
    for (; length >= 0x80; length >>>= 7)
      this.#end = this.#buffer.writeUInt8((length & 0x7f) | 0x80, this.#end);
    this.#end = this.#buffer.writeUInt8(length, this.#end);
    if (this.#end + Buffer.byteLength(value) > this.#buffer.length)
      throw new Error('an event is larger than a row may be');
    this.#end += this.#buffer.write(value, this.#end);
  }
}
