import { rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { assertRoom, type CopiedEvents } from './copied-events.js';
import { STEP_SECONDS } from './fill.js';
import { LIMIT, type RivalStore } from './rival-store.js';
import { fillDuckdb } from './rivals.js';

/** Copies that are written together: a million events. */
const TOGETHER = 16;

/**
 * DuckDB after it has read the events, in the order of their times, so that it can leave out what a time excludes. Its newest
 * format of files takes less than half of the default's bytes.
 * @throws NotRun where it wouldn't fit
 */
export async function openDuckdb(
  folder: string,
  copied: CopiedEvents,
  say: (text: string) => void,
): Promise<RivalStore> {
  const path = join(folder, 'rival.duckdb');
  const instance = await DuckDBInstance.create(':memory:', { threads: '2' });
  const connection = await instance.connect();
  const close = async (keep: boolean) => {
    connection.closeSync();
    instance.closeSync();
    if (!keep) await rm(path, { force: true });
  };
  try {
    if (!(await isThere(path))) await fill(connection, path, copied, say);
    await connection.run(`attach '${path}' as rival (read_only)`);
    await connection.run('use rival');
    const [[events] = []] = (await connection.runAndReadAll('select count(*) from events')).getRows();
    if (Number(events) !== copied.events)
      throw new Error(`${path} holds ${events} events instead of ${copied.events}`);
    return {
      bytes: (await stat(path)).size,
      async ask({ duckdb }, place) {
        const { where, select = '*', having, limit = LIMIT } = duckdb(place);
        const selected = `select ${select} from events where ${where}`;
        const reader = await connection.runAndReadAll(
          having
            ? `select * from (${selected}) where ${having} order by "at" desc limit ${limit}`
            : `${selected} order by requestReceivedTimestamp desc limit ${limit}`,
        );
        return { rows: reader.currentRowCount };
      },
      close,
    };
  } catch (error) {
    await close(true);
    throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** Works beside the final name, so that one that was interrupted isn't taken for whole. */
async function fill(
  connection: DuckDBConnection,
  path: string,
  copied: CopiedEvents,
  say: (text: string) => void,
): Promise<void> {
  const fresh = `${path}.new`;
  for (const file of [fresh, `${fresh}.wal`]) await rm(file, { force: true });
  try {
    await connection.run(`attach '${fresh}' as fresh (storage_version 'latest')`);
    await connection.run('use fresh');
    await fillDuckdb(connection, copied.file);
    await assertRoom(path.slice(0, path.lastIndexOf('/')), (await stat(fresh)).size * copied.copies);
    await connection.run('create temp table base as select * from events');
    for (let copy = 1; copy <= copied.copies; copy += TOGETHER) {
      const last = Math.min(copied.copies, copy + TOGETHER - 1);
      const copies = Array.from({ length: last - copy + 1 }, (_, i) => copySql(copy + i));
      await connection.run(`insert into events ${copies.join(' union all ')}`);
      say(`DuckDB: copy ${last} of ${copied.copies}`);
    }
    await connection.run('checkpoint');
    await connection.run('use memory');
    await connection.run('detach fresh');
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
  await rename(fresh, path);
}

function copySql(copy: number): string {
  const later = (name: string) => `${name} + to_seconds(${copy * STEP_SECONDS}) as ${name}`;
  return `select * replace (auditID || '-${copy}' as auditID, ${later('requestReceivedTimestamp')}, ${later('stageTimestamp')}) from base`;
}
