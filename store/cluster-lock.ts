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
