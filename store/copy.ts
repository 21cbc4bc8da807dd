import { once } from 'node:events';
import type { ClientBase } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { CopyFields } from './copy-fields.js';

const SIGNATURE = Buffer.from([
  0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0,
]);
const CHUNK = 256 * 1024;

/** Rows for one COPY. The caller writes each row's fields in the order of the COPY's column list. */
export class CopyRows extends CopyFields {
  rows = 0;

  constructor() {
    super();
    this.raw(SIGNATURE);
  }

  row(fields: number): void {
    this.reserve(2);
    this.length = this.buffer.writeInt16BE(fields, this.length);
    this.rows++;
  }

  /** The whole COPY stream; nothing may be added after. */
  finish(): Buffer {
    this.reserve(2);
    this.length = this.buffer.writeInt16BE(-1, this.length);
    return this.buffer.subarray(0, this.length);
  }
}

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
