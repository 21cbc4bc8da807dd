import type { ClientBase } from 'pg';

/** The first key of the advisory locks that writers of a cluster hold; the second is the cluster's id. */
export const CLUSTER_LOCK = 7_231_002;

/** Excludes all other writers of a cluster until this transaction ends: `seq` is then the order of commit. */
export async function lockCluster(client: ClientBase, clusterID: number): Promise<void> {
  await client.query({
    name: 'lock-cluster',
    text: 'select pg_advisory_xact_lock($1, $2)',
    values: [CLUSTER_LOCK, clusterID],
  });
}

/**
 * Begins a transaction that excludes all other writers of a cluster, and takes a block of numbers for its events.
 * Returns the block's first, and how often bodies were swept away (store/archive/sweep-bodies.ts). One round trip: each
 * costs a turn of a busy event loop.
 */
export async function beginNumbered(
  client: ClientBase,
  clusterID: number,
): Promise<{ firstSeq: number; bodiesEpoch: number }> {
  const results = (await client.query(
    `begin; select pg_advisory_xact_lock(${CLUSTER_LOCK}, ${Math.trunc(clusterID)}); select nextval('ingest_seq') as seq, (select bodies_epoch from clusters where id = ${Math.trunc(clusterID)}) as epoch`,
  )) as unknown as Array<{ rows: Array<{ seq: string; epoch: number }> }>;
  const { seq, epoch } = results.at(-1)!.rows[0]!;
  return { firstSeq: Number(seq), bodiesEpoch: epoch };
}
