import type { Pool, PoolClient } from 'pg';
import { assertRoom, type CopiedEvents } from './copied-events.js';
import { STEP_SECONDS } from './fill.js';
import { poolOf } from './filled-ledger.js';
import { LIMIT, type RivalStore } from './rival-store.js';
import { copyIntoNaive, createNaive, indexNaive } from './rivals.js';

const DATABASE = 'rival';

/**
 * One jsonb column with a GIN index, in a database of its own in the ledger's Postgres, so that both have the same settings.
 * The index is made when the rows are there, with memory for that alone.
 * @throws NotRun where it wouldn't fit
 */
export async function openJsonb(
  folder: string,
  copied: CopiedEvents,
  say: (text: string) => void,
): Promise<RivalStore> {
  const ledger = poolOf(folder);
  const { rowCount } = await ledger.query('select from pg_database where datname = $1', [DATABASE]);
  if (rowCount === 0) await ledger.query(`create database ${DATABASE}`);
  const pool = poolOf(folder, DATABASE);
  const close = async (keep: boolean) => {
    await pool.end();
    if (!keep) await ledger.query(`drop database ${DATABASE}`);
    await ledger.end();
  };
  try {
    if ((await eventsIn(pool)) !== copied.events) await fill(pool, folder, copied, say);
    const { rows } = await pool.query<{ bytes: number }>(
      `select pg_total_relation_size('naive')::float8 as bytes`,
    );
    return {
      bytes: rows[0]!.bytes,
      async ask({ naive }, place) {
        const { contains, where = 'true', select = 'event', having, limit = LIMIT } = naive(place);
        const selected = `select ${select} from naive where event @> $1 and ${where}`;
        const query = having
          ? `select * from (${selected}) selected where ${having} order by at desc limit ${limit}`
          : `${selected} order by event->>'requestReceivedTimestamp' desc limit ${limit}`;
        return { rows: (await pool.query(query, [contains])).rows.length };
      },
      close,
    };
  } catch (error) {
    await close(false);
    throw error;
  }
}

/** How many events a table that was filled to its end holds; undefined where none was. */
async function eventsIn(pool: Pool): Promise<number | undefined> {
  const { rows } = await pool.query<{ events: string | null }>(
    `select obj_description(to_regclass('naive')) as events`,
  );
  return rows[0]!.events === null ? undefined : Number(rows[0]!.events);
}

async function fill(
  pool: Pool,
  folder: string,
  copied: CopiedEvents,
  say: (text: string) => void,
): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('drop table if exists naive');
    await createNaive(client);
    await copyIntoNaive(client, copied.file);
    await client.query('create temp table base as select event from naive');
    await assertRoom(folder, await bytesOfAll(client, copied));
    const later = (name: string) =>
      `to_char(((event->>'${name}')::timestamptz + $1 * interval '${STEP_SECONDS} seconds') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
    for (let copy = 1; copy <= copied.copies; copy++) {
      await client.query(
        `insert into naive select event || jsonb_build_object('auditID', (event->>'auditID') || '-' || $1::integer,
                  'requestReceivedTimestamp', ${later('requestReceivedTimestamp')}, 'stageTimestamp', ${later('stageTimestamp')})
           from base`,
        [copy],
      );
      if (copy % 10 === 0 || copy === copied.copies) say(`jsonb: copy ${copy} of ${copied.copies}`);
    }
    await client.query(`set maintenance_work_mem = '1GB'`);
    await indexNaive(client);
    say('jsonb: indexed');
    await client.query('vacuum analyze naive');
    const { rows } = await client.query<{ events: string }>('select count(*) as events from naive');
    if (Number(rows[0]!.events) !== copied.events)
      throw new Error(`the jsonb table holds ${rows[0]!.events} events instead of ${copied.events}`);
    await client.query(`comment on table naive is '${copied.events}'`);
  } finally {
    client.release(true);
  }
}

/** Judged by those that were sent, indexed. */
async function bytesOfAll(client: PoolClient, copied: CopiedEvents): Promise<number> {
  const index = await indexNaive(client);
  const { rows } = await client.query<{ bytes: number }>(
    `select pg_total_relation_size('naive')::float8 as bytes`,
  );
  await client.query(`drop index ${index}`);
  return rows[0]!.bytes * copied.copies;
}
