import type { ClientBase } from 'pg';

/** Rows from which on it costs something that Postgres believes a cluster to have hardly any. */
const MANY = 1000;
const HARDLY_ANY = 100;
/** What questions and jobs look into by cluster, besides partitions of events and changes. */
const TABLES = [
  ...[
    'objects',
    'object_uids',
    'users',
    'user_agents',
    'event_contexts',
    'bodies',
    'body_packs',
    'attributions',
  ],
  ...['links', 'verdicts', 'current_verdicts', 'syncs', 'managed_objects'],
];

/** What Postgres' statistics know of a cluster: that it has many changes, that it has few, or that wrongly. */
export type Standing = 'known' | 'small' | 'unknown';

/** How these clusters stand, by id. One that is unknown has many changes: it is new in a large ledger. */
export async function findStandings(
  client: ClientBase,
  clusterIDs: readonly number[],
): Promise<Map<number, Standing>> {
  const standings = new Map<number, Standing>();
  for (const clusterID of clusterIDs) {
    const of = `from changes where cluster_id = ${Math.trunc(clusterID)}`;
    const plan = await client.query<{ 'QUERY PLAN': Array<{ Plan: { 'Plan Rows': number } }> }>(
      `explain (format json) select ${of}`,
    );
    if (plan.rows[0]!['QUERY PLAN'][0]!.Plan['Plan Rows'] >= HARDLY_ANY) {
      standings.set(clusterID, 'known');
      continue;
    }
    const { rows } = await client.query<{ many: boolean }>(
      `select exists (select ${of} offset ${MANY - 1} limit 1) as many`,
    );
    standings.set(clusterID, rows[0]!.many ? 'unknown' : 'small');
  }
  return standings;
}

/** Has Postgres look at what holds rows of these clusters. Locks out nobody. */
export async function analyzeClusters(client: ClientBase, clusterIDs: readonly number[]): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select inhrelid::regclass::text as name from pg_inherits
      where inhparent in ('event_rows'::regclass, 'changes'::regclass)`,
  );
  const tables = [...TABLES];
  for (const { name } of rows) {
    const held = await client.query<{ yes: boolean }>(
      `select exists (select from ${name} where cluster_id = any($1::integer[])) as yes`,
      [clusterIDs],
    );
    if (held.rows[0]!.yes) tables.push(name);
  }
  for (const table of tables) await client.query(`analyze ${table}`);
}
