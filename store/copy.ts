import { once } from 'node:events';
import type { ClientBase } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';

/** Microseconds from the Unix epoch to 2000-01-01, where Postgres counts from. */
const POSTGRES_EPOCH = 946_684_800_000_000n;
const SIGNATURE = Buffer.from([
  0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0,
]);
const TEXT_OID = 25;
const CHUNK = 256 * 1024;

/**
 * Rows in the binary COPY format (PostgreSQL documentation, COPY, "Binary Format"). The caller writes each row's
 * fields in the order of the COPY's column list. Binary spares both sides the escaping and parsing of text.
 */
export class CopyRows {
  #buffer: Buffer = Buffer.allocUnsafe(64 * 1024);
  #length = 0;
  rows = 0;

  constructor() {
    SIGNATURE.copy(this.#buffer);
    this.#length = SIGNATURE.length;
  }

  row(fields: number): void {
    this.#reserve(2);
    this.#length = this.#buffer.writeInt16BE(fields, this.#length);
    this.rows++;
  }

  null(): void {
    this.#reserve(4);
    this.#length = this.#buffer.writeInt32BE(-1, this.#length);
  }

  /** text, and enums by their label */
  text(value: string | undefined | null): void {
    if (value === undefined || value === null) {
      this.null();
      return;
    }
    // 3 bytes are the most that UTF-8 needs for a UTF-16 code unit.
    this.#reserve(4 + value.length * 3);
    const written = this.#buffer.write(value, this.#length + 4, 'utf8');
    this.#buffer.writeInt32BE(written, this.#length);
    this.#length += 4 + written;
  }

  int4(value: number | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    this.#reserve(8);
    this.#length = this.#buffer.writeInt32BE(4, this.#length);
    this.#length = this.#buffer.writeInt32BE(value, this.#length);
  }

  int2(value: number | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    this.#reserve(6);
    this.#length = this.#buffer.writeInt32BE(2, this.#length);
    this.#length = this.#buffer.writeInt16BE(value, this.#length);
  }

  int8(value: bigint | number | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    this.#reserve(12);
    this.#length = this.#buffer.writeInt32BE(8, this.#length);
    this.#length = this.#buffer.writeBigInt64BE(BigInt(value), this.#length);
  }

  bool(value: boolean): void {
    this.#reserve(5);
    this.#length = this.#buffer.writeInt32BE(1, this.#length);
    this.#length = this.#buffer.writeInt8(value ? 1 : 0, this.#length);
  }

  bytes(value: Uint8Array | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    this.#reserve(4 + value.length);
    this.#length = this.#buffer.writeInt32BE(value.length, this.#length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
  }

  uuid(value: string | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    this.#reserve(20);
    this.#length = this.#buffer.writeInt32BE(16, this.#length);
    for (const [from, to] of UUID_PARTS)
      this.#length += this.#buffer.write(value.slice(from, to), this.#length, 'hex');
  }

  /** timestamptz from microseconds since the Unix epoch */
  time(micros: number | undefined): void {
    this.int8(micros === undefined ? undefined : BigInt(micros) - POSTGRES_EPOCH);
  }

  jsonb(value: unknown): void {
    if (value === undefined) {
      this.null();
      return;
    }
    const text = JSON.stringify(value);
    this.#reserve(5 + text.length * 3);
    const written = this.#buffer.write(text, this.#length + 5, 'utf8');
    this.#buffer.writeInt32BE(written + 1, this.#length);
    this.#buffer[this.#length + 4] = 1;
    this.#length += 5 + written;
  }

  textArray(values: readonly string[] | undefined): void {
    if (values === undefined) {
      this.null();
      return;
    }
    const start = this.#length;
    this.#reserve(24);
    this.#length += 4;
    this.#length = this.#buffer.writeInt32BE(values.length === 0 ? 0 : 1, this.#length);
    this.#length = this.#buffer.writeInt32BE(0, this.#length);
    this.#length = this.#buffer.writeInt32BE(TEXT_OID, this.#length);
    if (values.length > 0) {
      this.#length = this.#buffer.writeInt32BE(values.length, this.#length);
      this.#length = this.#buffer.writeInt32BE(1, this.#length);
      for (const value of values) this.text(value);
    }
    this.#buffer.writeInt32BE(this.#length - start - 4, start);
  }

  /** The whole COPY stream; nothing may be added after. */
  finish(): Buffer {
    this.#reserve(2);
    this.#length = this.#buffer.writeInt16BE(-1, this.#length);
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + bytes));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

const UUID_PARTS = [
  [0, 8],
  [9, 13],
  [14, 18],
  [19, 23],
  [24, 36],
] as const;

/** Sends finished rows through COPY. Rejects with the database's error. */
export async function copyRows(
  client: ClientBase,
  table: string,
  columns: readonly string[],
  rows: CopyRows,
): Promise<void> {
  if (rows.rows === 0) return;
  const stream = client.query(
    copyFrom(`copy ${table} (${columns.join(', ')}) from stdin with (format binary)`),
  );
  const data = rows.finish();
  const finished = new Promise<void>((resolve, reject) => {
    stream.once('finish', resolve);
    stream.once('error', reject);
  });
  // A failure while writing must not become an unhandled rejection before it is awaited.
  finished.catch(() => undefined);
  for (let at = 0; at < data.length; at += CHUNK) {
    if (!stream.write(data.subarray(at, at + CHUNK))) await Promise.race([once(stream, 'drain'), finished]);
  }
  stream.end();
  await finished;
}
