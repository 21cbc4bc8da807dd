import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { ClientBase } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { AccessEvent } from '../../../core/access/access-event.js';
import { Identities } from '../../../core/identity-map/identities.js';
import { formatCheckpoint } from '../../../core/log/checkpoint.js';
import { parseLeaf } from '../../../core/log/leaf.js';
import { hashLeaf, verifyConsistency } from '../../../core/log/merkle.js';
import { formatVerifierKey, signNote, type VerifierKey, verifierOf } from '../../../core/log/note.js';
import { parseProofFile, verifyProofFile } from '../../../core/log/proof-file.js';
import { growTiles } from '../../../core/log/tiles.js';
import { attributeJob } from '../../../jobs/attribute.js';
import type { Job } from '../../../jobs/job.js';
import { linksJob } from '../../../jobs/links.js';
import { checkpointJob, sequenceLogJob } from '../../../jobs/proof-log.js';
import { verdictsJob } from '../../../jobs/verdicts.js';
import { BUILT_IN_POLICY } from '../../../main/policy-file.js';
import { appendAccessEvents } from '../../../store/access-events.js';
import { createKysely } from '../../../store/database.js';
import { findCheckpoints, readTreeHead } from '../../../store/log/checkpoints.js';
import { loggedAccessEvents, loggedEvents, loggedVerdicts } from '../../../store/log/logged-rows.js';
import { proveConsistency, proveLeaf } from '../../../store/log/proofs.js';
import { type Damage, type LoggedRows, verifyRecords } from '../../../store/log/verify-records.js';
import { type TreeVerdict, verifyTree } from '../../../store/log/verify-tree.js';
import { peopleOf } from '../../../store/verdicts/people.js';
import { Cluster, eventList } from '../../harness/events.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';

const ORIGIN = 'ledger.example.com/whochanged';
const keys = generateKeyPairSync('ed25519');
const verifier: VerifierKey = verifierOf(ORIGIN, keys.publicKey);

let receiver: TestReceiver;
/** Checkpoints as they were copied out of the database's reach. */
let copies: string[] = [];

async function withClient<T>(work: (client: ClientBase) => Promise<T>): Promise<T> {
  const client = await receiver.database.pool.connect();
  try {
    return await work(client);
  } finally {
    client.release();
  }
}

async function runJobs(jobs: Job[]): Promise<void> {
  await withClient(async (client) => {
    const context = {
      client,
      now: () => new Date(),
      log: { info: () => undefined, warn: () => undefined, error: () => undefined },
      signal: new AbortController().signal,
    };
    for (const job of jobs) await job.runOnce(context);
  });
}

const signTree = (privateKey: KeyObject = keys.privateKey): Promise<void> =>
  runJobs([sequenceLogJob(), checkpointJob({ origin: ORIGIN, privateKey })]);

async function damage(): Promise<Damage[]> {
  const { pool } = receiver.database;
  const { rows } = await pool.query<{ id: number; name: string }>('select id, name from clusters');
  const found: Damage[] = [];
  for (const cluster of rows) {
    for await (const item of verifyRecords(pool, createKysely(pool), loggedEvents(cluster))) found.push(item);
  }
  return found;
}

const tree = (trusted = [verifier], from = copies): Promise<TreeVerdict> =>
  withClient((client) => verifyTree(client, trusted, from));

const run = (sql: string, values: unknown[] = []) => receiver.database.pool.query(sql, values);

beforeAll(async () => {
  receiver = await startReceiver();
  const cluster = new Cluster();
  for (let batch = 0; batch < 6; batch++) {
    const items = Array.from({ length: 60 }, (_, i) =>
      cluster.deployment(batch === 0 ? 'create' : 'update', `web-${i}`, {
        image: `web:${batch}`,
        replicas: batch,
      }),
    );
    expect((await receiver.post(eventList(items))).status).toBe(200);
    await signTree();
  }
  copies = (await findCheckpoints(receiver.database.pool, undefined, 100)).map(
    (checkpoint) => checkpoint.note,
  );
});
afterAll(() => receiver.stop());

describe('an untouched ledger', () => {
  it('is proven whole, by its own checkpoints and by copies of them', async () => {
    expect(await damage()).toEqual([]);
    expect(await tree()).toEqual({ size: 360, checkpoints: 12, provenSize: 360, problems: [] });
  });

  it('gives each event a proof that holds without the ledger', async () => {
    const { rows } = await run(
      `select e.seq, e.digest, (extract(epoch from e.at) * 1000000)::bigint as micros, e.cluster_id, s.name
         from events e join sources s on s.id = e.source_id order by e.seq limit 3 offset 299`,
    );
    for (const row of rows) {
      const leaf = {
        type: 'event' as const,
        cluster: 'prod',
        origin: row.name,
        seq: Number(row.seq),
        at: Number(row.micros),
        digest: row.digest as Buffer,
      };
      const { file } = await proveLeaf(receiver.database.pool, row.cluster_id, leaf);
      const proof = parseProofFile(file);
      expect(parseLeaf(proof.extra!.toString())).toEqual(leaf);
      expect(verifyProofFile(proof, hashLeaf(proof.extra!), [verifier])).toMatchObject({ ok: true });
    }
  });

  it('proves that every checkpoint is a beginning of the newest', async () => {
    const checkpoints = await findCheckpoints(receiver.database.pool, undefined, 100);
    const head = await readTreeHead(receiver.database.pool);
    for (const { size, root } of checkpoints) {
      const proof = await proveConsistency(receiver.database.pool, size, head.size);
      expect(verifyConsistency(size, root, head.size, head.root, proof)).toBe(true);
    }
  });

  it('stays proven when a body is erased', async () => {
    const { rowCount } = await run('delete from bodies where digest in (select digest from bodies limit 5)');
    expect(rowCount).toBe(5);
    expect(await damage()).toEqual([]);
    expect((await tree()).problems).toEqual([]);
  });
});

describe('whoever can write to the database', () => {
  const TABLES = [
    'users',
    'event_rows',
    'event_contexts',
    'log_tiles',
    'log_checkpoints',
    'log_size',
    'log_runs',
  ];
  const ONE = '(select seq from events order by seq offset 199 limit 1)';

  beforeAll(async () => {
    for (const table of TABLES) await run(`create table kept_${table} as table ${table}`);
  });
  afterEach(async () => {
    for (const table of TABLES) {
      await run(`delete from ${table}`);
      await run(`insert into ${table} table kept_${table}`);
    }
    expect(await damage()).toEqual([]);
    expect((await tree()).problems).toEqual([]);
  });

  it.each([
    [
      'gives an event another verb',
      `with other as (
         insert into event_contexts
         select (jsonb_populate_record(x, jsonb_build_object('id', 7, 'verb', 'get'))).*
           from event_contexts x join event_rows e on e.context_id = x.id where e.seq = ${ONE} returning id)
       update event_rows set context_id = other.id from other where seq = ${ONE}`,
      199,
    ],
    ['gives many events another verb, in the dictionary', `update event_contexts set verb = 'get'`, 0],
    ['takes a context out of the dictionary', 'delete from event_contexts', 0],
    [
      'turns the clock back for an event',
      `update event_rows set at = at - interval '1 hour' where seq = ${ONE}`,
      199,
    ],
    [
      'gives an event another digest',
      `update event_rows set digest = sha256(digest) where seq = ${ONE}`,
      199,
    ],
    [
      'gives an event another answer',
      `update event_rows set response_digest = sha256(digest) where seq = ${ONE}`,
      199,
    ],
    [
      'puts another person in the place of an actor, in the dictionary',
      `update users set username = 'eve@example.com' where username = 'alice@example.com'`,
      0,
    ],
  ])('%s: it is named', async (_name, attack, index) => {
    await run(attack);
    const [first] = await damage();
    expect(first).toMatchObject({ kind: 'altered', type: 'event', cluster: 'prod', index });
    expect(first!.detail).toMatch(/its columns no longer give its digest/);
  });

  it('gives an event other columns and the digest that fits them: it is not the record that was logged', async () => {
    // The event before it, whole in itself, under its number.
    await run(`delete from event_rows where seq = ${ONE}`);
    await run(
      `update event_rows set seq = seq + 1 where seq = (select seq from events order by seq offset 198 limit 1)`,
    );
    expect((await damage()).map(({ kind, index }) => ({ kind, index }))).toEqual([
      { kind: 'removed', index: 198 },
      { kind: 'altered', index: 199 },
    ]);
  });

  it('deletes an event: the place that is empty is named', async () => {
    await run(`delete from event_rows where seq = ${ONE}`);
    expect(await damage()).toMatchObject([{ kind: 'removed', index: 199 }]);
  });

  it('hides a change by calling its event a read: what the event says tells', async () => {
    await run(`update event_rows set class = 'read' where seq = ${ONE}`);
    expect(await damage()).toMatchObject([
      {
        kind: 'altered',
        index: 199,
        detail: expect.stringMatching(/told as read, and it is of class change$/),
      },
    ]);
  });

  it('inserts an event: the log has no place for it', async () => {
    await run(
      `insert into event_rows select (jsonb_populate_record(e, jsonb_build_object(
         'seq', e.seq + 1000000, 'digest', '\\x' || encode(sha256(e.digest), 'hex')))).* from event_rows e where seq = ${ONE}`,
    );
    expect(await damage()).toMatchObject([{ kind: 'added', index: undefined }]);
  });

  it('swaps two events: both are named', async () => {
    const two = 'select seq from events order by seq offset 199 limit 2';
    await run(
      `update event_rows e set seq = o.seq from event_rows o where e.seq in (${two}) and o.seq in (${two}) and o.seq <> e.seq`,
    );
    expect((await damage()).map(({ kind, index }) => ({ kind, index }))).toEqual([
      { kind: 'altered', index: 199 },
      { kind: 'altered', index: 200 },
    ]);
  });

  it('rewrites a leaf: the signed checkpoints say between which leaves', async () => {
    await run(
      `update log_tiles set hashes = overlay(hashes placing sha256('forged') from 199 * 32 + 1) where level = 0 and index = 0`,
    );
    expect(await damage()).toMatchObject([{ kind: 'altered', index: 199 }]);
    expect(await tree()).toMatchObject({
      provenSize: 180,
      problems: [
        'tile 1/0 is not what its leaves give',
        'leaves 180 to 239: the log is not the one that was signed at size 240 (database)',
      ],
    });
  });

  it('cuts the end of the log off, records and checkpoints and all: the copies tell', async () => {
    await run('delete from log_checkpoints where size > 240');
    await run('delete from log_runs where first_index >= 240');
    await run('delete from event_rows where seq not in (select seq from events order by seq limit 240)');
    await run('update log_size set size = 240');
    await run('delete from log_tiles where level > 0 or index > 0');
    await run('update log_tiles set hashes = substring(hashes for 240 * 32)');
    expect(await damage()).toEqual([]);
    expect((await tree([verifier], [])).problems).toEqual([]);
    expect((await tree()).problems).toEqual([
      'the log was cut: it has 240 leaves, and a checkpoint (copy) was signed over 300',
    ]);
  });

  it('signs with a key of its own: no trusted key has signed it', async () => {
    const forger = generateKeyPairSync('ed25519');
    const { size, root } = await readTreeHead(receiver.database.pool);
    const text = formatCheckpoint({ origin: ORIGIN, size, root, extensions: [] });
    const note = `${text}\n${signNote(text, ORIGIN, forger.privateKey)}`;
    await run('update log_checkpoints set note = $1 where size = $2', [note, size]);
    expect((await tree()).problems).toEqual([
      `the checkpoint of size ${size} (database) is signed by no trusted key`,
    ]);
  });
});

describe('whoever holds the database and a key of their own', () => {
  const TABLES = ['log_checkpoints', 'log_keys', 'log_tiles'];
  beforeAll(async () => {
    for (const table of TABLES) await run(`create table held_${table} as table ${table}`);
  });
  afterEach(async () => {
    for (const table of TABLES) {
      await run(`delete from ${table}`);
      await run(`insert into ${table} table held_${table}`);
    }
  });

  it('rewrites a leaf, signs the whole log anew and swaps the key in the database: a key from elsewhere tells', async () => {
    const forger = generateKeyPairSync('ed25519');
    const forged = verifierOf(ORIGIN, forger.publicKey);
    await run(
      `update log_tiles set hashes = overlay(hashes placing sha256('forged') from 199 * 32 + 1) where level = 0 and index = 0`,
    );
    const { rows } = await run('select hashes from log_tiles where level = 0 and index = 0');
    const hashes = rows[0].hashes as Buffer;
    const leaves = Array.from({ length: 256 }, (_, i) => Buffer.from(hashes.subarray(i * 32, i * 32 + 32)));
    for (const tile of growTiles(0, new Map(), leaves))
      if (tile.level > 0)
        await run(
          'update log_tiles set hashes = overlay(hashes placing $1 from 1) where level = $2 and index = 0',
          [tile.hashes, tile.level],
        );
    const { size, root } = await readTreeHead(receiver.database.pool);
    const text = formatCheckpoint({ origin: ORIGIN, size, root, extensions: [] });
    await run('delete from log_checkpoints');
    await run('delete from log_keys');
    await run('insert into log_keys (verifier_key, name) values ($1, $2)', [
      formatVerifierKey(forged),
      ORIGIN,
    ]);
    await run('insert into log_checkpoints (size, signed_at, root, note) values ($1, now(), $2, $3)', [
      size,
      root,
      `${text}\n${signNote(text, ORIGIN, forger.privateKey)}`,
    ]);
    // The database by itself is of one piece: who asks it for the key is told what the forger wants.
    expect((await tree([forged], [])).problems).toEqual([]);
    expect((await tree([verifier], [])).problems).toEqual([
      `the checkpoint of size ${size} (database) is signed by no trusted key`,
    ]);
    expect((await tree()).problems).toContain(
      'leaves 180 to 239: the log is not the one that was signed at size 240 (copy)',
    );
  });

  it('has the clock of the server set back: the checkpoint that says an earlier time is named', async () => {
    const { size, root } = await readTreeHead(receiver.database.pool);
    const note = (time: string) => {
      const text = formatCheckpoint({ origin: ORIGIN, size, root, extensions: [`time ${time}`] });
      return `${text}\n${signNote(text, ORIGIN, keys.privateKey)}`;
    };
    await run('update log_checkpoints set note = $1 where size = $2', [
      note('2020-01-01T00:00:00.000Z'),
      size,
    ]);
    expect((await tree()).problems).toEqual([
      expect.stringMatching(
        new RegExp(`^the checkpoint of size ${size} .*2020-01-01T00:00:00.000Z.*the clock was set back`),
      ),
    ]);
  });
});

describe('whoever can write to access events and verdicts', () => {
  const found = async <Row>(logged: LoggedRows<Row>): Promise<Damage[]> => {
    const { pool } = receiver.database;
    const damages: Damage[] = [];
    for await (const item of verifyRecords(pool, createKysely(pool), logged)) damages.push(item);
    return damages;
  };
  const briefly = (damages: Damage[]) => damages.map(({ kind, type, seq }) => ({ kind, type, seq }));

  it('alters, removes, adds or swaps access events: each is named', async () => {
    const event = (n: number): AccessEvent => ({
      at: Date.UTC(2026, 2, 2) * 1000 + n,
      caller: `asker-${n}`,
      callerKind: 'oidc',
      role: 'reader',
      clusters: null,
      namespaces: ['shop'],
      grants: n === 0 ? null : [{ role: 'reader', clusters: null, namespaces: ['shop'] }],
      method: 'GET',
      route: '/v1/changes',
      target: `/v1/changes?name=${n}`,
      asked: n === 1 ? { name: 'ci', role: 'reader' } : null,
      status: 200,
      sourceIP: '127.0.0.1',
      requestID: `request-${n}`,
    });
    const { pool } = receiver.database;
    await appendAccessEvents(pool, [0, 1, 2].map(event));
    await appendAccessEvents(pool, [3, 4].map(event));
    await signTree();
    expect(await found(loggedAccessEvents())).toEqual([]);
    const { rows } = await run('select seq from access_events order by seq');
    const seqs = rows.map((row) => Number(row.seq)) as [number, number, number, number, number];
    await run(`update access_events set status = 403 where seq = $1`, [seqs[0]]);
    await run(`update access_events set grants = '[]' where seq = $1`, [seqs[1]]);
    await run('delete from access_events where seq = $1', [seqs[2]]);
    await run(
      `update access_events a set seq = case when seq = $1 then $2::bigint + 500 else $1 end where seq in ($1, $2)`,
      [seqs[3], seqs[4]],
    );
    expect(briefly(await found(loggedAccessEvents()))).toEqual(
      [
        { kind: 'altered', type: 'access', seq: seqs[0] },
        { kind: 'altered', type: 'access', seq: seqs[1] },
        { kind: 'removed', type: 'access', seq: seqs[2] },
        { kind: 'altered', type: 'access', seq: seqs[3] },
        { kind: 'removed', type: 'access', seq: seqs[4] },
        { kind: 'added', type: 'access', seq: seqs[4] + 500 },
      ].sort((a, b) => a.seq - b.seq),
    );
  });

  it('alters, removes or adds verdicts: each is named', async () => {
    const { rows: clusters } = await run('select id, name from clusters');
    const cluster = clusters[0] as { id: number; name: string };
    const policy = () => Promise.resolve(BUILT_IN_POLICY);
    await runJobs([
      attributeJob(),
      linksJob(policy),
      verdictsJob({ policy, git: undefined, people: peopleOf(new Identities([])) }),
    ]);
    await signTree();
    expect(await found(loggedVerdicts(cluster))).toEqual([]);
    const { rows } = await run('select id from verdicts order by id');
    expect(rows.length).toBeGreaterThan(100);
    const [first, second, third] = rows.slice(20).map((row) => Number(row.id)) as [number, number, number];
    await run('alter table verdicts disable trigger user');
    await run(`update verdicts set document = '{"commits": []}' where id = $1`, [first]);
    await run(`update verdicts set evaluated_at = evaluated_at - interval '1 day' where id = $1`, [second]);
    await run('delete from verdicts where id = $1', [third]);
    expect(briefly(await found(loggedVerdicts(cluster)))).toEqual([
      { kind: 'altered', type: 'verdict', seq: first },
      { kind: 'altered', type: 'verdict', seq: second },
      { kind: 'removed', type: 'verdict', seq: third },
    ]);
  });
});

describe('a new key', () => {
  it('signs at once, and old checkpoints hold by the old one', async () => {
    const next = generateKeyPairSync('ed25519');
    await signTree(next.privateKey);
    const { rows } = await run(
      'select verifier_key, retired_at is null as current from log_keys order by first_used_at',
    );
    expect(rows.map((row) => row.current)).toEqual([false, true]);
    expect((await tree([verifier, verifierOf(ORIGIN, createPublicKey(next.privateKey))])).problems).toEqual(
      [],
    );
    expect((await tree()).problems).toHaveLength(1);
  });
});
