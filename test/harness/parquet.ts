import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';

/** What DuckDB makes of lines of JSON: nested columns, times as such, null where a record has no member. */
export async function asParquet(ndjson: string, compression: string): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-parquet-'));
  const [json, parquet] = [join(folder, 'x.ndjson'), join(folder, 'x.parquet')];
  try {
    await writeFile(json, ndjson);
    const duckdb = await DuckDBInstance.create();
    const connection = await duckdb.connect();
    await connection.run(
      `copy (select * from read_json('${json}', format = 'newline_delimited', sample_size = -1, maximum_depth = -1, map_inference_threshold = -1))
         to '${parquet}' (format parquet, compression ${compression}, row_group_size 2048)`,
    );
    connection.closeSync();
    duckdb.closeSync();
    return await readFile(parquet);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
