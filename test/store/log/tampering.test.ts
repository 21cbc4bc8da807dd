import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { ClientBase } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { formatCheckpoint } from '../../../core/log/checkpoint.js';
import { parseLeaf } from '../../../core/log/leaf.js';
import { hashLeaf, verifyConsistency } from '../../../core/log/merkle.js';
import { signNote, type VerifierKey, verifierOf } from '../../../core/log/note.js';
import { parseProofFile, verifyProofFile } from '../../../core/log/proof-file.js';
import { checkpointJob, sequenceLogJob } from '../../../jobs/proof-log.js';
import { createKysely } from '../../../store/database.js';
import { findCheckpoints, readTreeHead } from '../../../store/log/checkpoints.js';
import { proveConsistency, proveLeaf } from '../../../store/log/proofs.js';
import { type Damage, verifyEvents } from '../../../store/log/verify-records.js';
import { type TreeVerdict, verifyTree } from '../../../store/log/verify-tree.js';
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

async function signTree(privateKey: KeyObject = keys.privateKey): Promise<void> {
  await withClient(async (client) => {
    const context = {
      client,
      now: () => new Date(),
      log: { info: () => undefined, warn: () => undefined, error: () => undefined },
      signal: new AbortController().signal,
    };
    await sequenceLogJob().runOnce(context);
    await checkpointJob({ origin: ORIGIN, privateKey }).runOnce(context);
  });
}

async function damage(): Promise<Damage[]> {
  const { pool } = receiver.database;
  const { rows } = await pool.query<{ id: number; name: string }>('select id, name from clusters');
  const found: Damage[] = [];
  for (const cluster of rows) {
    for await (const item of verifyEvents(pool, createKysely(pool), cluster)) found.push(item);
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
  copies = (await findCheckpoints(receiver.database.pool, 0, 100)).map((checkpoint) => checkpoint.note);
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
    const checkpoints = await findCheckpoints(receiver.database.pool, 0, 100);
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
  const TABLES = ['users', 'events', 'log_tiles', 'log_checkpoints', 'log_size', 'log_runs'];
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
    ['gives an event another verb', `update events set verb = 'get' where seq = ${ONE}`, 199],
    [
      'turns the clock back for an event',
      `update events set at = at - interval '1 hour' where seq = ${ONE}`,
      199,
    ],
    ['gives an event another digest', `update events set digest = sha256(digest) where seq = ${ONE}`, 199],
    [
      'gives an event another answer',
      `update events set response_digest = sha256(digest) where seq = ${ONE}`,
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
    await run(`delete from events where seq = ${ONE}`);
    await run(
      `update events set seq = seq + 1 where seq = (select seq from events order by seq offset 198 limit 1)`,
    );
    expect((await damage()).map(({ kind, index }) => ({ kind, index }))).toEqual([
      { kind: 'removed', index: 198 },
      { kind: 'altered', index: 199 },
    ]);
  });

  it('deletes an event: the place that is empty is named', async () => {
    await run(`delete from events where seq = ${ONE}`);
    expect(await damage()).toMatchObject([{ kind: 'removed', index: 199 }]);
  });

  it('inserts an event: the log has no place for it', async () => {
    await run(
      `insert into events select (jsonb_populate_record(e, jsonb_build_object(
         'seq', e.seq + 1000000, 'digest', '\\x' || encode(sha256(e.digest), 'hex')))).* from events e where seq = ${ONE}`,
    );
    expect(await damage()).toMatchObject([{ kind: 'added', index: undefined }]);
  });

  it('swaps two events: both are named', async () => {
    const two = 'select seq from events order by seq offset 199 limit 2';
    await run(
      `update events e set seq = o.seq from events o where e.seq in (${two}) and o.seq in (${two}) and o.seq <> e.seq`,
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
    await run('delete from events where seq not in (select seq from events order by seq limit 240)');
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
