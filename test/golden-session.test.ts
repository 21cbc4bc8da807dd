import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attributeJob } from '../jobs/attribute.js';
import { createKysely } from '../store/database.js';
import { verifyAnswers } from '../store/log/verify-answers.js';
import { type ActionTime, readActions } from './e2e/session/actions.js';
import { type Answer, compareAction, compareDerived, findAnswers } from './e2e/session/judge.js';
import { dumpDatabase } from './harness/dump.js';
import { startReceiver, type TestReceiver } from './harness/receiver.js';

const FOLDER = join(import.meta.dirname, 'fixtures/session');
const BATCH = 400;

/** The recorded log through the real receiver, in batches as the apiserver posts them, and the jobs after it. */
async function replay(receiver: TestReceiver, recording: string): Promise<Answer[]> {
  const lines = gunzipSync(readFileSync(join(FOLDER, recording)))
    .toString('utf8')
    .trim()
    .split('\n');
  for (let at = 0; at < lines.length; at += BATCH) {
    const body = `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[${lines.slice(at, at + BATCH).join(',')}]}`;
    const answer = await receiver.post(body);
    expect(answer).toMatchObject({
      status: 200,
      body: { stored: Math.min(BATCH, lines.length - at), quarantined: 0 },
    });
  }
  const client = await receiver.database.pool.connect();
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  await attributeJob().runOnce({ client, log, now: () => new Date(), signal: new AbortController().signal });
  client.release();
  return findAnswers(receiver.database.pool);
}

describe.each([
  ['the golden session', 'actions.yaml', 'recording'],
  ['the session under mixed audit levels', 'actions-mixed-levels.yaml', 'recording-mixed-levels'],
])('%s', (_name, actionsFile, recording) => {
  const file = readActions(join(FOLDER, actionsFile));
  const times = JSON.parse(readFileSync(join(FOLDER, `${recording}-times.json`), 'utf8')) as ActionTime[];
  let receiver: TestReceiver;
  let answers: Answer[];
  beforeAll(async () => {
    receiver = await startReceiver();
    answers = await replay(receiver, `${recording}.ndjson.gz`);
  });
  afterAll(() => receiver.stop());

  it.each(file.actions.map((action) => [action.id, action] as const))('%s', (_id, action) => {
    expect(compareAction(file, times, answers, action)).toEqual([]);
  });

  it.each(
    file.actions.flatMap((action) =>
      (action.derived ?? []).map((derived) => [`${action.id}: ${derived.object}`, action, derived] as const),
    ),
  )('what followed from %s', (_id, action, derived) => {
    expect(compareDerived(times, answers, action, derived)).toBeUndefined();
  });

  it('tells of changes what their events say, and has every body as it was', async () => {
    const { pool } = receiver.database;
    const { rows } = await pool.query<{ id: number; name: string }>('select id, name from clusters');
    const counts = { bodies: 0, changes: 0 };
    const found: unknown[] = [];
    for await (const damage of verifyAnswers(pool, createKysely(pool), rows[0]!, counts)) found.push(damage);
    expect(found).toEqual([]);
    expect(counts.changes).toBeGreaterThan(300);
    expect(counts.bodies).toBeGreaterThan(300);
  });

  it('lets no seeded secret out, in whatever form', async () => {
    const secrets = readFileSync(join(FOLDER, 'seeded-secrets.txt'), 'utf8')
      .split('\n')
      .filter((line) => line && !line.startsWith('#'));
    expect(secrets.length).toBeGreaterThan(5);
    const dump = await dumpDatabase(receiver.database.pool);
    expect(dump.length).toBeGreaterThan(1_000_000);
    for (const secret of secrets) {
      const forms = [
        secret,
        Buffer.from(secret).toString('base64').replace(/=+$/, ''),
        encodeURIComponent(secret),
        Buffer.from(secret).toString('hex'),
      ];
      for (const form of forms)
        expect(dump.includes(form), `a form of a seeded secret of ${secret.length} characters`).toBe(false);
    }
  });
});
