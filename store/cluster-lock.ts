import type { ClientBase } from 'pg';

/** The first key of the advisory locks that writers of a cluster hold; the second is the cluster's id. */
export const CLUSTER_LOCK = 7_231_002;

/**
 * A writer that asks nothing for so long, in the midst of its transaction, hangs, as a process that was paused: the server
 * ends it, or all other writers of its cluster would wait for as long as it hangs.
 */
const SILENCE_MS = 20_000;
/** As long as who drains a spool waits for Postgres. Bounds a hang in the midst of a COPY, where the server waits for more. */
const STATEMENT_MS = 300_000;

/** Excludes all other writers of a cluster until this transaction ends: `seq` is then the order of commit. */
export async function lockCluster(client: ClientBase, clusterID: number): Promise<void> {
  await client.query({
    name: 'lock-cluster',
    text: `select set_config('idle_in_transaction_session_timeout', '${SILENCE_MS}', true), pg_advisory_xact_lock($1, $2)`,
    values: [CLUSTER_LOCK, clusterID],
  });
}

/**
 * Begins a transaction that excludes all other writers of a cluster, and takes a block of numbers for its events.
 * Returns the block's first, and how often bodies were swept away (store/archive/sweep-bodies.ts). One round trip: each
 * costs a turn of a busy event loop. Its lookups are index probes for whatever cluster, and planned so: planned for one that
 * statistics don't know yet, because it is new in a large ledger and taken to have hardly any rows, they would walk through
 * all of them.
 */
export async function beginNumbered(
  client: ClientBase,
  clusterID: number,
  silenceMs = SILENCE_MS,
): Promise<{ firstSeq: number; bodiesEpoch: number }> {
  const cluster = Math.trunc(clusterID);
  const results = (await client.query(
    `begin; set local idle_in_transaction_session_timeout = ${Math.trunc(silenceMs)};
     set local statement_timeout = ${STATEMENT_MS}; set local plan_cache_mode = force_generic_plan; select pg_advisory_xact_lock(${CLUSTER_LOCK}, ${cluster});
     select nextval('ingest_seq') as seq, (select bodies_epoch from clusters where id = ${cluster}) as epoch`,
  )) as unknown as Array<{ rows: Array<{ seq: string; epoch: number }> }>;
  const { seq, epoch } = results.at(-1)!.rows[0]!;
  return { firstSeq: Number(seq), bodiesEpoch: epoch };
}

/** Runs some work in a transaction that excludes all other writers of a cluster; nothing of it stays where it fails. */
export async function inClusterLock<T>(
  client: ClientBase,
  clusterID: number,
  work: () => Promise<T>,
): Promise<T> {
  await client.query('begin');
  try {
    await lockCluster(client, clusterID);
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}
