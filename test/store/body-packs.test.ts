import type { PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { acceptBody } from '../../core/accept.js';
import { sha256 } from '../../core/canonical.js';
import type { PlainBody } from '../../store/body-packs.js';
import { removeBodies, storeBodies } from '../../store/body-rows.js';
import { inClusterLock } from '../../store/cluster-lock.js';
import { createKysely } from '../../store/database.js';
import { findBodies } from '../../store/queries/bodies.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';
import { dumpDatabase } from '../harness/dump.js';

let database: TestDatabase;
let client: PoolClient;
let clusterID: number;
beforeAll(async () => {
  database = await createTestDatabase();
  client = await database.pool.connect();
  clusterID = (await client.query(`insert into clusters (name) values ('prod') returning id`)).rows[0].id;
});
beforeEach(() => client.query('truncate bodies, body_packs, erased_bodies, body_candidates'));
afterAll(async () => {
  client.release();
  await database.drop();
});

/** Versions of one object, each about 2 KB that nothing else has, so that some thirty fill a pack. */
function versions(count: number): PlainBody[] {
  return Array.from({ length: count }, (_, i) =>
    acceptBody({ kind: 'ConfigMap', data: { note: `note-${i}-`, filler: filler(i) } }),
  );
}

const filler = (seed: number) =>
  Array.from({ length: 32 }, (_, n) => sha256(`${seed}.${n}`).toString('hex')).join('');

const store = (bodies: readonly PlainBody[]) =>
  inClusterLock(client, clusterID, () => storeBodies(client, clusterID, bodies));
const remove = (bodies: readonly PlainBody[]) =>
  inClusterLock(client, clusterID, () =>
    removeBodies(
      client,
      clusterID,
      bodies.map(({ digest }) => digest),
    ),
  );

/** Which of these are found, each as it was stored. */
async function found(bodies: readonly PlainBody[]): Promise<number[]> {
  const digests = bodies.map(({ digest }) => digest);
  const values = await findBodies(createKysely(database.pool), clusterID, digests);
  return bodies.flatMap(({ digest, json }, i) => {
    const value = values.get(digest.toString('hex'));
    if (value === undefined) return [];
    expect(value).toEqual(JSON.parse(Buffer.from(json).toString()));
    return i;
  });
}

const counted = async () =>
  (
    await client.query(
      `select (select count(*)::int from body_packs) as packs, count(pack_id)::int as packed, count(content)::int as alone from bodies`,
    )
  ).rows[0];

it('stores neighbours in packs, and each once', async () => {
  const bodies = versions(70);
  const large = acceptBody({ note: filler(1).repeat(40) });
  await store([...bodies, large]);
  expect(await counted()).toEqual({ packs: 3, packed: 70, alone: 1 });
  expect(await found([...bodies, large])).toHaveLength(71);
  const known = bodies[3]!;
  const added = versions(72).slice(70);
  await store([known, ...added]);
  expect(await counted()).toEqual({ packs: 4, packed: 72, alone: 1 });
  expect(await found([...bodies, ...added])).toHaveLength(72);
});

it('takes what is removed out of its pack, and nothing else', async () => {
  const bodies = versions(70);
  await store(bodies);
  const going = bodies.filter((_, i) => i % 3 === 0);
  expect(await remove([...going, acceptBody({ never: 'stored' })])).toBe(24);
  expect(await found(bodies)).toEqual([...bodies.keys()].filter((i) => i % 3 !== 0));
  const dump = await dumpDatabase(database.pool);
  for (const i of bodies.keys()) expect([i, dump.includes(`note-${i}-`)]).toEqual([i, i % 3 !== 0]);
  // The last of a pack needs none any more.
  await remove(bodies.filter((_, i) => i !== 68));
  expect(await counted()).toEqual({ packs: 0, packed: 0, alone: 1 });
  expect(await found(bodies)).toEqual([68]);
  await remove(bodies);
  expect(await counted()).toEqual({ packs: 0, packed: 0, alone: 0 });
});

it('reads every body while packs are taken apart, and after that was broken off', async () => {
  const bodies = versions(20);
  await store(bodies);
  const all = [...bodies.keys()];
  await client.query('begin');
  await removeBodies(client, clusterID, [bodies[0]!.digest]);
  expect(await found(bodies)).toEqual(all);
  await client.query('rollback');
  expect(await found(bodies)).toEqual(all);
  expect(await counted()).toEqual({ packs: 1, packed: 20, alone: 0 });
});

it('stores none anew that was erased', async () => {
  const bodies = versions(5);
  await client.query(
    `insert into erased_bodies (cluster_id, digest, event_id, erased_by, reason) values ($1, $2, '1', 'alice', 'asked')`,
    [clusterID, bodies[2]!.digest],
  );
  await store(bodies);
  expect(await found(bodies)).toEqual([0, 1, 3, 4]);
  expect(await dumpDatabase(database.pool)).not.toContain('note-2-');
});

it('leaves nothing of a body in a row that was laid over it', async () => {
  const bodies = versions(4);
  await store(bodies);
  await client.query(
    `update bodies o set pack_offset = b.pack_offset from bodies b where o.digest = $1 and b.digest = $2`,
    [bodies[1]!.digest, bodies[2]!.digest],
  );
  await remove([bodies[2]!]);
  expect(await found(bodies)).toEqual([0, 3]);
  expect(await dumpDatabase(database.pool)).not.toContain('note-2-');
  expect(await counted()).toEqual({ packs: 1, packed: 2, alone: 1 });
});

it('reads bodies of versions before packs, and beside those that came later', async () => {
  const old = acceptBody({
    apiVersion: 'v1',
    data: { level: 'debug' },
    kind: 'ConfigMap',
    metadata: {
      creationTimestamp: '2026-03-02T10:00:00Z',
      name: 'settings',
      namespace: 'shop',
      resourceVersion: '4711',
      uid: '5f0c7a52-4f0e-4a8e-9d5c-1f1c4f0f7a11',
    },
  });
  await client.query(
    'insert into bodies (cluster_id, digest, size, encoding, content) values ($1, $2, $3, 1, $4)',
    [
      clusterID,
      old.digest,
      old.json.length,
      Buffer.from(
        'wzo1BE2QOallqaA2fUpqUmk60gwDYhqAqJlZM10DY10DoxBDpJlZaNosTi0BDd/DJs5gZUNxRj5ojBuzYDAxNwSVZ5DCwTTNINk80dRI1yTNIFXXJNEiVdcyxTRZ1zDNMNkkzSDNPNHQUKm2FgA=',
        'base64',
      ),
    ],
  );
  const later = versions(3);
  await store([old, ...later]);
  expect(await counted()).toEqual({ packs: 1, packed: 3, alone: 1 });
  expect(await found([old, ...later])).toEqual([0, 1, 2, 3]);
});
