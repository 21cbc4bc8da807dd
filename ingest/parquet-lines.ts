import { gunzipSync } from 'node:zlib';
import { decompress as unzstd } from 'fzstd';
import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
} from 'hyparquet';
import { WhochangedError } from '../core/errors.js';
import { formatMicros } from '../core/timestamp.js';

/** Reads the bytes [from, to) of the file. */
export type ReadRange = (from: number, to: number) => Promise<Buffer>;

/** A row group is held in memory as a whole: one that is larger than this, compressed or not, is not read. */
const MAX_GROUP_BYTES = 64 * 1024 * 1024;
/** Rows handed on at once. */
const LINES = 100;
const MAGIC = Buffer.from('PAR1');

const COMPRESSORS: Compressors = {
  GZIP: (input) => gunzipSync(input),
  // A frame without its size in the header would be grown into; the page's header tells it.
  ZSTD: (input, outputLength) => unzstd(input, new Uint8Array(outputLength)),
};

/** To the microsecond, and as OCSF's JSON form has them. */
const PARSERS = {
  timestampFromMicroseconds: (micros: bigint) => formatMicros(Number(micros)),
  timestampFromNanoseconds: (nanos: bigint) => formatMicros(Number(nanos / 1000n)),
};

export function startsParquet(bytes: Buffer): boolean {
  return bytes.subarray(0, MAGIC.length).equals(MAGIC);
}

/**
 * The rows of a Parquet file (parquet.apache.org/docs/file-format) as lines of JSON, without the members that are null:
 * what Amazon Security Lake stores is then as its JSON form. Needs the memory of one row group.
 * @throws WhochangedError `invalid_request` when it can't be read as Parquet; what `read` throws
 */
export async function* parquetLines(size: number, read: ReadRange): AsyncGenerator<Buffer> {
  const metadata = await parsing(() => parquetMetadataAsync(fileOf(size, read)));
  let rowStart = 0;
  for (const [number, group] of metadata.row_groups.entries()) {
    const rowEnd = rowStart + Number(group.num_rows);
    const { from, to, bytes } = extentOf(group);
    if (bytes > MAX_GROUP_BYTES)
      throw new WhochangedError(
        'invalid_request',
        `row group ${number + 1} of the Parquet file takes ${Math.ceil(bytes / 1024 / 1024)} MiB of memory, and ${MAX_GROUP_BYTES / 1024 / 1024} are read at the most`,
        { hint: 'write it with smaller row groups, or export it as JSON' },
      );
    // One request instead of one for each of some hundred columns.
    const held = await read(from, to);
    const file = fileOf(size, async (start, end) =>
      start >= from && end <= to ? held.subarray(start - from, end - from) : read(start, end),
    );
    const rows = await parsing(() =>
      parquetReadObjects({ file, metadata, rowStart, rowEnd, compressors: COMPRESSORS, parsers: PARSERS }),
    );
    for (let at = 0; at < rows.length; at += LINES)
      yield Buffer.from(
        rows
          .slice(at, at + LINES)
          .map(lineOf)
          .join(''),
      );
    rowStart = rowEnd;
  }
}

function fileOf(size: number, read: ReadRange): AsyncBuffer {
  return {
    byteLength: size,
    slice: async (start, end = size) => {
      const bytes = await read(start, end).catch((cause) => {
        throw new ReadFailed('the file can’t be read', { cause });
      });
      // Its own buffer, from its beginning: what is asked for is taken for that.
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
    },
  };
}

/** Tells what reading the file threw from what parsing it did. */
class ReadFailed extends Error {}

/** Where a row group's columns lie in the file, and the more of what they take there and in memory. */
function extentOf(group: FileMetaData['row_groups'][number]): { from: number; to: number; bytes: number } {
  let from = Number.POSITIVE_INFINITY;
  let to = 0;
  let memory = 0;
  for (const { meta_data: column } of group.columns) {
    if (!column) continue;
    const start = Number(column.dictionary_page_offset || column.data_page_offset);
    from = Math.min(from, start);
    to = Math.max(to, start + Number(column.total_compressed_size));
    memory += Number(column.total_uncompressed_size);
  }
  return { from, to, bytes: Math.max(to - from, memory) };
}

/** The parser's errors are of many kinds, and could quote what they stumbled over. */
async function parsing<T>(parse: () => Promise<T>): Promise<T> {
  try {
    return await parse();
  } catch (error) {
    if (error instanceof ReadFailed) throw error.cause;
    throw new WhochangedError('invalid_request', 'the object is a Parquet file that can’t be read', {
      hint: 'it may be cut off, encrypted or compressed with LZO, LZ4 or Brotli: upload it again, or export it as JSON',
    });
  }
}

function lineOf(row: Record<string, unknown>): string {
  return `${JSON.stringify(row, (_key, value) => {
    if (value === null) return undefined;
    return typeof value === 'bigint' ? Number(value) : value;
  })}\n`;
}
