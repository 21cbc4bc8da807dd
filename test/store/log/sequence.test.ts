import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { verifierOf } from '../../../core/log/note.js';
import { appendAccessEvents } from '../../../store/access-events.js';
import { readLogSize, sequencePending } from '../../../store/log/sequence.js';
import { verifyLedger } from '../../../store/log/verify-ledger.js';
import { Cluster, eventList } from '../../harness/events.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';

const POSTS = 24;
const EVENTS = 20;

let receiver: TestReceiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver.stop());

it('gives places without gaps, each once, however many sequencers run and however they end', async () => {
  const { pool } = receiver.database;
  const cluster = new Cluster();
  let posting = true;
  /** A sequencer on a connection of its own; one of them loses it again and again, in the midst of its work. */
  const sequencer = async (dies: boolean) => {
    while (posting) {
      const client = await pool.connect();
      client.on('error', () => undefined);
      const end = dies
        ? setTimeout(
            () => void (client as unknown as { end(): Promise<void> }).end().catch(() => undefined),
            3,
          )
        : undefined;
      await sequencePending(client, 3).catch(() => undefined);
      clearTimeout(end);
      client.release(dies);
      await new Promise((done) => setTimeout(done, 2));
    }
  };
  const sequencers = [sequencer(false), sequencer(false), sequencer(true)];
  await Promise.all(
    Array.from({ length: POSTS }, async (_, post) => {
      const items = Array.from({ length: EVENTS }, (_unused, i) =>
        cluster.deployment('create', `web-${post}-${i}`, { image: `web:${post}` }),
      );
      expect((await receiver.post(eventList(items))).status).toBe(200);
      await appendAccessEvents(pool, [
        {
          at: post,
          caller: 'alice',
          callerKind: 'oidc',
          role: 'reader',
          clusters: null,
          namespaces: null,
          grants: null,
          method: 'GET',
          route: '/v1/changes',
          target: '/v1/changes',
          asked: null,
          status: 200,
          sourceIP: '127.0.0.1',
          requestID: String(post),
        },
      ]);
    }),
  );
  posting = false;
  await Promise.all(sequencers);
  const client = await pool.connect();
  while ((await sequencePending(client, 100)) > 0);
  expect(await readLogSize(client)).toBe(POSTS * (EVENTS + 1));
  client.release();
  const { rows } = await pool.query<{ first_index: string; count: number }>(
    'select first_index, count from log_runs order by first_index',
  );
  let next = 0;
  for (const { first_index, count } of rows) {
    expect(Number(first_index)).toBe(next);
    next += count;
  }
  expect(next).toBe(POSTS * (EVENTS + 1));
  const key = verifierOf('ledger.example.com/test', generateKeyPairSync('ed25519').publicKey);
  const problems: string[] = [];
  await verifyLedger(
    pool,
    [key],
    [],
    (problem) => void problems.push(problem),
    () => undefined,
  );
  expect(problems).toEqual([]);
});
