import { join } from 'node:path';
import {
  type ClickHouse,
  clickhouseCommand,
  NO_CLICKHOUSE,
  removeClickhouse,
  startClickhouse,
} from './clickhouse.js';
import { bytesOf, CLICKHOUSE_COLUMNS, createEvents, insertEvents, mergeEvents } from './clickhouse-table.js';
import { assertRoom, type CopiedEvents, NotRun } from './copied-events.js';
import { STEP_SECONDS } from './fill.js';
import type { RivalStore } from './rival-store.js';

/** What merging writes anew stands beside what it replaces. */
const WHILE_MERGING = 2;

/**
 * A ClickHouse server of its own, after it has read the events, its parts merged. Columns' files are compressed as it does by itself.
 * @throws NotRun where there is none, or where its table wouldn't fit
 */
export async function openClickhouse(
  folder: string,
  copied: CopiedEvents,
  say: (text: string) => void,
): Promise<RivalStore> {
  if (!clickhouseCommand()) throw new NotRun(NO_CLICKHOUSE);
  const own = join(folder, 'rival-clickhouse');
  const server = await startClickhouse(own);
  const close = async (keep: boolean) => {
    await server.stop();
    if (!keep) await removeClickhouse(own);
  };
  try {
    if ((await server.run('exists table events')).trim() !== '1') await fill(server, folder, copied, say);
    const events = Number(await server.run('select count() from events'));
    if (events !== copied.events)
      throw new Error(`${own} holds ${events} events instead of ${copied.events}`);
    return {
      bytes: await bytesOf(server, 'events'),
      version: server.version,
      async ask({ clickhouse }, place) {
        const answer = JSON.parse(await server.run(`${clickhouse(place)} format JSONCompact`)) as {
          data: unknown[];
        };
        return { rows: answer.data.length };
      },
      close,
    };
  } catch (error) {
    await close(true);
    throw error;
  }
}

/** Works under other names, so that what was interrupted isn't taken for whole. */
async function fill(
  server: ClickHouse,
  folder: string,
  copied: CopiedEvents,
  say: (text: string) => void,
): Promise<void> {
  for (const table of ['base', 'filled']) {
    await server.run(`drop table if exists ${table}`);
    await createEvents(server, table);
  }
  await insertEvents(server, 'base', copied.file);
  await assertRoom(folder, (await bytesOf(server, 'base')) * (copied.copies + 1) * WHILE_MERGING);
  for (let copy = 0; copy <= copied.copies; copy++) {
    await server.run(`insert into filled select ${copiedColumns(copy)} from base`);
    if (copy % 10 === 0 || copy === copied.copies) say(`ClickHouse: copy ${copy} of ${copied.copies}`);
  }
  await server.run('drop table base');
  await mergeEvents(server, 'filled');
  say('ClickHouse: merged');
  await server.run('rename table filled to events');
}

/** The rule of `copiedAuditID` and of times, in its SQL. */
function copiedColumns(copy: number): string {
  const later = `+ ${copy} * ${STEP_SECONDS} * 1000000`;
  return CLICKHOUSE_COLUMNS.map((name) => {
    if (name === 'auditID' && copy > 0) return `concat(auditID, '-${copy}')`;
    return name.endsWith('Timestamp') ? `toUInt64(${name} ${later})` : name;
  }).join(', ');
}
