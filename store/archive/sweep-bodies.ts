import type { ClientBase } from 'pg';
import { removeBodies } from '../body-rows.js';
import { inClusterLock } from '../cluster-lock.js';

/** Few enough that writers are not kept waiting for long while as many packs are packed anew. */
const BODIES_AT_ONCE = 300;

/**
 * Deletes bodies of dropped rows that no row refers to any more. Writers of a cluster skip bodies that they know to be
 * there, so they are first made to forget (`bodies_epoch`); from then on whoever writes a reference to a candidate takes it
 * out of the candidates (store/body-rows.ts). What is left after a look at every row is referred to by none. The look reads
 * all events and changes of the cluster once; it locks nothing.
 */
export async function sweepBodies(
  client: ClientBase,
  clusterID: number,
  signal: AbortSignal,
): Promise<number> {
  const any = await client.query('select from body_candidates where cluster_id = $1 limit 1', [clusterID]);
  if (any.rowCount === 0) return 0;
  await inClusterLock(client, clusterID, () =>
    client.query('update clusters set bodies_epoch = bodies_epoch + 1 where id = $1', [clusterID]),
  );
  await client.query('drop table if exists unreferenced_bodies');
  await client.query(
    'create temporary table unreferenced_bodies (n bigint primary key, digest bytea not null)',
  );
  // Those of a pack stand together: what else is in it is packed anew once.
  await client.query(
    `insert into unreferenced_bodies
     select row_number() over (order by p.pack_id), b.digest
       from body_candidates b left join bodies p on p.cluster_id = b.cluster_id and p.digest = b.digest
      where b.cluster_id = $1
        and not exists (select from (
              select unnest(array[request_digest, response_digest]) as digest from events where cluster_id = $1
              union all
              select unnest(array[request_digest, response_digest, before_digest, after_digest]) from changes where cluster_id = $1
            ) r where r.digest = b.digest)`,
    [clusterID],
  );
  let swept = 0;
  for (let from = 0; !signal.aborted; from += BODIES_AT_ONCE) {
    const { gone, looked } = await inClusterLock(client, clusterID, async () => {
      const { rows } = await client.query<{ digest: Buffer }>(
        'select digest from unreferenced_bodies where n > $1 and n <= $2',
        [from, from + BODIES_AT_ONCE],
      );
      // Those that were written anew meanwhile are no candidates any more.
      const going = await client.query<{ digest: Buffer }>(
        'delete from body_candidates where cluster_id = $1 and digest = any($2::bytea[]) returning digest',
        [clusterID, rows.map(({ digest }) => digest)],
      );
      const gone = await removeBodies(
        client,
        clusterID,
        going.rows.map(({ digest }) => digest),
      );
      return { gone, looked: rows.length };
    });
    swept += gone;
    if (looked === 0) {
      // The others are referred to.
      await client.query('delete from body_candidates where cluster_id = $1', [clusterID]);
      break;
    }
  }
  await client.query('drop table unreferenced_bodies');
  return swept;
}
