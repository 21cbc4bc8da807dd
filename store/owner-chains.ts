import type { ClientBase } from 'pg';
import type { ObjectKey } from '../core/identity.js';

const MAX_CLIMB = 8;

export interface ChainLink {
  uid: string;
  kind: string | undefined;
  name: string | undefined;
  objectID: string | undefined;
  key: ObjectKey | undefined;
  firstSeen: number | undefined;
}

/** An object's first sight, and its owners from the nearest up. */
export interface Chain {
  born: { objectID: string; at: number } | undefined;
  links: ChainLink[];
}

interface ChainRow {
  i: string;
  depth: number;
  object_id: string;
  owner_uid: string | null;
  owner_kind: string | null;
  owner_name: string | null;
  first_seen: string;
  api_group: string | null;
  resource: string | null;
  namespace: string | null;
  name: string | null;
}

/** Each change's owners, up to the first one without an owner or never seen. */
export async function findChains(
  client: ClientBase,
  clusterID: number,
  rows: ReadonlyArray<{ uid: string | null; object_id: string }>,
): Promise<Chain[]> {
  if (rows.length === 0) return [];
  const { rows: found } = await client.query<ChainRow>({
    name: 'owner-chains',
    text: `with recursive chain as (
             select q.i, 0 as depth, s.* from unnest($2::text[], $3::uuid[]) with ordinality as q (uid, object_id, i)
              cross join lateral (
                select object_id, owner_uid, owner_kind, owner_name, seen_at from object_uids
                 where cluster_id = $1 and uid = q.uid
                union all
                (select object_id, owner_uid, owner_kind, owner_name, seen_at from object_uids
                  where q.uid is null and cluster_id = $1 and object_id = q.object_id order by seen_at desc limit 1)) s
             union all
             select c.i, c.depth + 1, o.object_id, o.owner_uid, o.owner_kind, o.owner_name, o.seen_at
               from chain c join object_uids o on o.cluster_id = $1 and o.uid = c.owner_uid
              where c.depth < ${MAX_CLIMB})
           select c.i, c.depth, c.object_id, c.owner_uid, c.owner_kind, c.owner_name,
                  (extract(epoch from c.seen_at) * 1000000)::bigint as first_seen,
                  o.api_group, o.resource, o.namespace, o.name
             from chain c
             left join lateral (select * from objects where cluster_id = $1 and id = c.object_id limit 1) o on true
            order by c.i, c.depth`,
    values: [clusterID, rows.map((row) => row.uid), rows.map((row) => row.object_id)],
  });
  const steps: ChainRow[][] = rows.map(() => []);
  for (const row of found) steps[Number(row.i) - 1]!.push(row);
  return steps.map((own) => {
    const links: ChainLink[] = [];
    const born = own[0] && { objectID: own[0].object_id, at: Number(own[0].first_seen) };
    for (const [depth, step] of own.entries()) {
      if (step.owner_uid === null) break;
      const owner = own[depth + 1];
      links.push({
        uid: step.owner_uid,
        kind: step.owner_kind ?? undefined,
        name: step.owner_name ?? undefined,
        objectID: owner?.object_id,
        key:
          owner?.resource == null
            ? undefined
            : {
                apiGroup: owner.api_group!,
                resource: owner.resource,
                namespace: owner.namespace!,
                name: owner.name!,
              },
        firstSeen: owner && Number(owner.first_seen),
      });
    }
    return { born, links };
  });
}
