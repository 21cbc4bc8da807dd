import { gunzipSync, gzipSync } from 'node:zlib';
import { parquetMetadata, parquetReadObjects, type SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { formatMicros, parseMicros } from '../../core/timestamp.js';

/**
 * What a column holds, as store/database.ts reads it (`time`: RFC 3339 with microseconds; `bigint`: text) or, for `json`,
 * as JSON text: parsed and written again, a number beyond 2^53 would be another one.
 */
export type ColumnType = 'text' | 'bigint' | 'integer' | 'boolean' | 'bytes' | 'time' | 'json';

export interface Column {
  name: string;
  type: ColumnType;
}

export type Row = Record<string, unknown>;

const ELEMENTS: Record<ColumnType, Omit<SchemaElement, 'name'>> = {
  text: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
  bigint: { type: 'INT64' },
  integer: { type: 'INT32' },
  boolean: { type: 'BOOLEAN' },
  bytes: { type: 'BYTE_ARRAY' },
  time: { type: 'INT64', converted_type: 'TIMESTAMP_MICROS' },
  json: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
};

/** Large, since what repeats is found within a page only. */
const PAGE_BYTES = 4 * 1024 * 1024;
const GZIP_LEVEL = 6;

function toParquet(type: ColumnType, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (type === 'bigint') return BigInt(value as string);
  if (type === 'time') return BigInt(parseMicros(value as string)!);
  return value;
}

function fromParquet(type: ColumnType, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (type === 'bigint') return String(value);
  if (type === 'time') return formatMicros(Number(value as bigint));
  if (type === 'bytes') {
    const bytes = value as Uint8Array;
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  return value;
}

/** Writes a Parquet file (gzip) in memory, a row group for each `add`. Any Parquet reader takes it. */
export class ParquetFile {
  readonly #columns: readonly Column[];
  readonly #bytes = new ByteWriter();
  readonly #writer: ParquetWriter;
  rows = 0;

  constructor(columns: readonly Column[], metadata: Record<string, string>) {
    this.#columns = columns;
    const root: SchemaElement = { name: 'root', num_children: columns.length };
    this.#writer = new ParquetWriter({
      writer: this.#bytes,
      schema: [
        root,
        ...columns.map(
          ({ name, type }): SchemaElement => ({ name, repetition_type: 'OPTIONAL', ...ELEMENTS[type] }),
        ),
      ],
      codec: 'GZIP',
      compressors: { GZIP: (input) => gzipSync(input, { level: GZIP_LEVEL }) },
      kvMetadata: Object.entries(metadata).map(([key, value]) => ({ key, value })),
      createdBy: 'whochanged',
    });
  }

  add(rows: readonly Row[]): void {
    if (rows.length === 0) return;
    this.rows += rows.length;
    void this.#writer.write({
      columnData: this.#columns.map(({ name, type }) => ({
        name,
        data: rows.map((row) => toParquet(type, row[name])),
      })),
      rowGroupSize: rows.length,
      pageSize: PAGE_BYTES,
    });
  }

  finish(): Buffer {
    void this.#writer.finish();
    const bytes = this.#bytes.getBytes();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }
}

/** The rows of a Parquet file that ParquetFile wrote, a row group at a time. */
export async function* readParquet(bytes: Buffer, columns: readonly Column[]): AsyncGenerator<Row[]> {
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  const file = {
    byteLength: buffer.byteLength,
    slice: (start: number, end?: number) => buffer.slice(start, end),
  };
  const metadata = parquetMetadata(buffer);
  const micros = (value: bigint) => value;
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const found = await parquetReadObjects({
      file,
      metadata,
      rowStart,
      rowEnd,
      utf8: false,
      compressors: { GZIP: (input) => gunzipSync(input) },
      parsers: { timestampFromMicroseconds: micros },
    });
    yield found.map((row) =>
      Object.fromEntries(columns.map(({ name, type }) => [name, fromParquet(type, row[name])])),
    );
    rowStart = rowEnd;
  }
}
