import type { Pool, PoolClient } from 'pg';

/** One copy every so many seconds: 5 million events reach over about three months. */
export const STEP_SECONDS = 100_003;

/** The same function of an id for every table, so that what belonged together still does; its time stays in its head. */
const FUNCTIONS = `
  create function pg_temp.moved_id(id uuid, at timestamptz, k integer) returns uuid language sql immutable as $$
    select (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || '8' ||
            overlay(left(md5(id::text || k), 18) placing '8' from 4 for 0))::uuid $$;
  create function pg_temp.moved_text(id text, k integer) returns text language sql immutable as $$
    select md5(id || k)::uuid::text $$;
  create function pg_temp.moved_digest(digest bytea, k integer) returns bytea language sql immutable as $$
    select sha256(digest || int4send(k)) $$;`;

/** An auditID is text in `changes`, and bytes in `event_rows`. */
const AUDIT_IDS: Record<string, string> = {
  event_rows: `decode(md5(id_text(audit_id) || %k), 'hex')`,
  changes: 'pg_temp.moved_text(audit_id, %k)',
};
const MOVED: Record<string, string> = {
  at: `at + %k * interval '1 second' * ${STEP_SECONDS}`,
  stage_at: `stage_at + %k * interval '1 second' * ${STEP_SECONDS}`,
  completed_at: `completed_at + %k * interval '1 second' * ${STEP_SECONDS}`,
  trigger_at: `trigger_at + %k * interval '1 second' * ${STEP_SECONDS}`,
  content_at: `content_at + %k * interval '1 second' * ${STEP_SECONDS}`,
  seq: 'seq + %k * 1000000000::bigint',
  order_rv: 'order_rv + %k * 100000000::bigint',
  resource_version: '(resource_version::bigint + %k * 100000000::bigint)::text',
  digest: 'pg_temp.moved_digest(digest, %k)',
  event_digest: 'pg_temp.moved_digest(event_digest, %k)',
  request_id: `pg_temp.moved_id(request_id, at + %k * interval '1 second' * ${STEP_SECONDS}, %k)`,
  change_id: `pg_temp.moved_id(change_id, at + %k * interval '1 second' * ${STEP_SECONDS}, %k)`,
  trigger_change_id: `pg_temp.moved_id(trigger_change_id, trigger_at + %k * interval '1 second' * ${STEP_SECONDS}, %k)`,
  content_change_id: `pg_temp.moved_id(content_change_id, content_at + %k * interval '1 second' * ${STEP_SECONDS}, %k)`,
};

/**
 * Repeats what a ledger holds until it has this many events, each copy later, as other requests on the same objects. Its
 * indexes are built at once, as `compact-months` leaves them.
 * Works once for a ledger: copies of copies would have the ids of others.
 */
export async function fillLedger(pool: Pool, events: number, say: (text: string) => void): Promise<void> {
  const client = await pool.connect();
  const has = Number((await client.query('select count(*) from events')).rows[0].count);
  const copies = Math.max(0, Math.ceil(events / has) - 1);
  const last = await client.query(
    `select (max(at) + $1 * interval '1 second' * ${STEP_SECONDS}) as until, min(at) as since from events`,
    [copies],
  );
  const month = new Date(last.rows[0].since);
  month.setUTCDate(1);
  for (; month.toISOString() < last.rows[0].until; month.setUTCMonth(month.getUTCMonth() + 1)) {
    const from = `${month.toISOString().slice(0, 7)}-01`;
    const suffix = from.slice(0, 7).replace('-', '_');
    for (const table of ['event_rows', 'changes'])
      await client.query(
        `create table if not exists ${table}_${suffix} partition of ${table} for values from ('${from}') to ('${from}'::timestamptz + interval '1 month')`,
      );
  }
  client.release();
  await Promise.all([
    copyTables(pool, ['event_rows'], copies, say),
    copyTables(pool, ['changes', 'attributions'], copies, say),
  ]);
  await pool.query('vacuum analyze');
}

/** Tables one after another, in a session of its own. Their indexes are built once their rows are there. */
async function copyTables(
  pool: Pool,
  tables: readonly string[],
  copies: number,
  say: (text: string) => void,
): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query(FUNCTIONS);
    for (const table of tables) {
      const definitions = await dropIndexes(client, table);
      const { rows } = await client.query<{ name: string }>(
        `select quote_ident(attname) as name from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum`,
        [table],
      );
      const columns = rows.map((row) => row.name);
      await client.query(`create temp table base_${table} as select ${columns.join(', ')} from ${table}`);
      for (let k = 1; k <= copies; k++) {
        const values = columns.map((name) =>
          (name === 'audit_id' ? AUDIT_IDS[table]! : (MOVED[name] ?? name)).replaceAll('%k', String(k)),
        );
        await client.query(
          `insert into ${table} (${columns.join(', ')}) select ${values.join(', ')} from base_${table}`,
        );
        if (k % 10 === 0 || k === copies) say(`${table}: copy ${k} of ${copies}`);
      }
      for (const definition of definitions) {
        say(definition);
        await client.query(definition);
      }
    }
  } finally {
    client.release();
  }
}

/** Drops the indexes of a table that hold no key of it. Returns their definitions. */
async function dropIndexes(client: PoolClient, table: string): Promise<string[]> {
  const { rows } = await client.query<{ name: string; definition: string }>(
    `select indexrelid::regclass::text as name, replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') as definition
       from pg_index x where indrelid = $1::regclass and not exists (select from pg_constraint c where c.conindid = x.indexrelid)`,
    [table],
  );
  for (const { name } of rows) await client.query(`drop index ${name}`);
  return rows.map(({ definition }) => definition);
}
