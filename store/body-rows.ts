import type { ClientBase } from 'pg';
import { PLAIN } from './body-encoding.js';
import {
  openBodies,
  type PlacedBody,
  type PlainBody,
  packBodies,
  type StoredBody,
  storedBodiesSql,
} from './body-packs.js';
import { CopyRows, copyRows } from './copy.js';

/** Packs that are taken apart at once. */
const PACKS_AT_ONCE = 100;

/**
 * Stores the bodies that the cluster doesn't have, but those that were erased from it. Whoever calls it holds the cluster's
 * lock. What is referred to from now on is not to be swept away (store/archive/sweep-bodies.ts).
 */
export async function storeBodies(
  client: ClientBase,
  clusterID: number,
  bodies: readonly PlainBody[],
): Promise<void> {
  if (bodies.length === 0) return;
  const { rows } = await client.query<{ present: Buffer[]; last_pack: string }>({
    name: 'bodies-present',
    text: `with kept as (delete from body_candidates where cluster_id = $1 and digest = any($2::bytea[]))
           select array(select digest from bodies where cluster_id = $1 and digest = any($2::bytea[])
                        union all select digest from erased_bodies where cluster_id = $1 and digest = any($2::bytea[])) as present,
                  (${LAST_PACK}) as last_pack`,
    values: [clusterID, bodies.map(({ digest }) => digest)],
  });
  const { present, last_pack } = rows[0]!;
  const known = new Set(present.map((digest) => digest.toString('hex')));
  const missing = bodies.filter(({ digest }) => !known.has(digest.toString('hex')));
  const { placed, packs } = await packBodies(missing, Number(last_pack) + 1);
  const packRows = new CopyRows();
  for (const { packID, encoding, content } of packs) {
    packRows.row(PACK_COLUMNS.length);
    packRows.int4(clusterID);
    packRows.int8(packID);
    packRows.int2(encoding);
    packRows.bytes(content);
  }
  const bodyRows = new CopyRows();
  for (const { digest, size, encoding, content, packID, offset } of placed) {
    bodyRows.row(BODY_COLUMNS.length);
    bodyRows.int4(clusterID);
    bodyRows.bytes(digest);
    bodyRows.int4(size);
    bodyRows.int2(encoding);
    bodyRows.bytes(content);
    bodyRows.int8(packID);
    bodyRows.int4(offset);
  }
  await copyRows(client, 'body_packs', PACK_COLUMNS, packRows);
  await copyRows(client, 'bodies', BODY_COLUMNS, bodyRows);
}

const PACK_COLUMNS = ['cluster_id', 'pack_id', 'encoding', 'content'] as const;
const BODY_COLUMNS = [
  'cluster_id',
  'digest',
  'size',
  'encoding',
  'content',
  'pack_id',
  'pack_offset',
] as const;

/** Writers of a cluster exclude each other, so nobody else takes the next. */
const LAST_PACK = 'select coalesce(max(pack_id), 0) from body_packs where cluster_id = $1';

/**
 * Removes bodies, and their content from the packs that they stand in: those are taken apart, and what stays is packed anew.
 * Whoever calls it holds the cluster's lock. Returns how many there were.
 */
export async function removeBodies(
  client: ClientBase,
  clusterID: number,
  digests: readonly Buffer[],
): Promise<number> {
  const removed = await client.query<{ pack_id: string | null }>(
    'delete from bodies where cluster_id = $1 and digest = any($2::bytea[]) returning pack_id',
    [clusterID, digests],
  );
  const packs = [...new Set(removed.rows.flatMap(({ pack_id }) => pack_id ?? []))];
  for (let from = 0; from < packs.length; from += PACKS_AT_ONCE)
    await takeApart(client, clusterID, packs.slice(from, from + PACKS_AT_ONCE));
  return removed.rows.length;
}

async function takeApart(client: ClientBase, clusterID: number, packIDs: readonly string[]): Promise<void> {
  const { rows } = await client.query<StoredBody>(
    `${storedBodiesSql('pack_id = any($2::bigint[])')} order by b.pack_id, b.pack_offset`,
    [clusterID, packIDs],
  );
  const { rows: last } = await client.query<{ last_pack: string }>(`select (${LAST_PACK}) as last_pack`, [
    clusterID,
  ]);
  await client.query('delete from body_packs where cluster_id = $1 and pack_id = any($2::bigint[])', [
    clusterID,
    packIDs,
  ]);
  const opened = await openBodies(rows);
  const staying: PlainBody[] = [];
  const altered: PlacedBody[] = [];
  for (const { digest, size } of rows) {
    const text = opened.get(digest.toString('hex'));
    if (text !== undefined) staying.push({ digest, json: Buffer.from(text) });
    // Its bytes may be those of a body that goes. Without any it is found altered, as it was before.
    else
      altered.push({
        digest,
        size,
        encoding: PLAIN,
        content: Buffer.alloc(0),
        packID: undefined,
        offset: undefined,
      });
  }
  const { placed, packs } = await packBodies(staying, Number(last[0]!.last_pack) + 1);
  placed.push(...altered);
  await client.query(
    `insert into body_packs (cluster_id, pack_id, encoding, content)
     select $1, p.* from unnest($2::bigint[], $3::smallint[], $4::bytea[]) p`,
    [clusterID, packs.map((p) => p.packID), packs.map((p) => p.encoding), packs.map((p) => p.content)],
  );
  await client.query(
    `update bodies b set size = n.size, encoding = n.encoding, content = n.content, pack_id = n.pack_id, pack_offset = n.pack_offset
       from unnest($2::bytea[], $3::integer[], $4::smallint[], $5::bytea[], $6::bigint[], $7::integer[])
            as n (digest, size, encoding, content, pack_id, pack_offset)
      where b.cluster_id = $1 and b.digest = n.digest`,
    [
      clusterID,
      placed.map((body) => body.digest),
      placed.map((body) => body.size),
      placed.map((body) => body.encoding),
      placed.map((body) => body.content ?? null),
      placed.map((body) => body.packID ?? null),
      placed.map((body) => body.offset ?? null),
    ],
  );
}
