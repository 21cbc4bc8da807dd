import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { Traffic } from '../../../bench/traffic.js';
import type { AcceptedEvent } from '../../../core/accept.js';
import { createKeyedDigest } from '../../../core/redact/keyed-digest.js';
import { compileRedactionRules, DEFAULT_REDACTION_RULES } from '../../../core/redact/rules.js';
import { type Acceptances, localAcceptances, type TakenLast } from '../../../ingest/acceptance/acceptance.js';
import { threadedAcceptances } from '../../../ingest/acceptance/threads.js';
import { startReceiver } from '../../harness/receiver.js';

const KEY = Buffer.alloc(32, 7);
const LIMIT = 1 << 20;
const redaction = { rules: compileRedactionRules(DEFAULT_REDACTION_RULES), digest: createKeyedDigest(KEY) };
const data = { rules: DEFAULT_REDACTION_RULES, key: KEY, maxItemBytes: LIMIT };
const log = pino({ level: 'silent' });
const batches = [...new Traffic().batches([0])];

async function accept(acceptances: Acceptances, body: Buffer, piece: number): Promise<TakenLast[]> {
  const acceptance = acceptances.open();
  const taken: TakenLast[] = [];
  for (let at = 0; at < body.length; at += piece)
    taken.push({ ...(await acceptance.push(body.subarray(at, at + piece))), empty: false });
  return [...taken, await acceptance.end()];
}

/** What must be the same whichever thread accepted it: everything, with bodies as what they hold. */
function comparable(taken: TakenLast[]): unknown {
  return taken.map(({ accepted, release: _release, ...rest }) => ({
    ...rest,
    accepted: accepted.map(({ event, request, response, json, digest, encodedRow: _row, ...facts }) => {
      const { requestObject: _request, responseObject: _response, ...envelope } = event;
      const stored = [request, response].map((body) => {
        return body && { digest: body.digest.toString('hex'), text: body.json.toString() };
      });
      return {
        ...facts,
        digest: digest.toString('hex'),
        json: json.toString(),
        envelope: JSON.parse(JSON.stringify(envelope)),
        stored,
      };
    }),
  }));
}

describe('accepting in threads', () => {
  // A thread takes a second of CPU to start from the sources.
  const open = threadedAcceptances(data, 2, log);
  afterAll(() => open.stop());

  it('gives what accepting in place gives, broken items included', async () => {
    const local = localAcceptances(redaction, LIMIT);
    const [batch] = batches;
    const broken = batch!.body.replace('"items":[', '"items":[{"kind":"Pod"},7,{"auditID":"x"},');
    for (const body of [
      batch!.body,
      broken,
      '{"kind":"EventList","items":[]}',
      ' ',
      '{"kind":"EventList","items":[{"a"',
    ]) {
      const bytes = Buffer.from(body);
      const [threaded, inPlace] = await Promise.all([
        accept(open, bytes, 50_000),
        accept(local, bytes, 50_000),
      ]);
      expect(comparable(threaded)).toEqual(comparable(inPlace));
    }
  });

  it('gives back the memory of events that are durable, and lets nobody read there again', async () => {
    const [batch] = batches;
    const [taken] = await accept(open, Buffer.from(batch!.body), LIMIT);
    const event = taken!.accepted[0]!;
    const { buffer } = event.json;
    expect(buffer.byteLength).toBeGreaterThan(0);
    taken!.release!();
    expect(buffer.byteLength).toBe(0);
    expect(() => event.json).toThrow(TypeError);
  });

  it('gives a change its bodies to be compared', async () => {
    const changes: AcceptedEvent[] = [];
    for (const { body } of batches.slice(0, 3)) {
      for (const { accepted } of await accept(open, Buffer.from(body), LIMIT))
        changes.push(...accepted.filter((item) => item.class === 'change' && item.response));
    }
    expect(changes.length).toBeGreaterThan(0);
    for (const { event } of changes) expect(event.responseObject).toBeTypeOf('object');
  });
});

it('stores through threads what it stores without', async () => {
  const without = await startReceiver();
  // Digests are keyed: only under one key can two ledgers be equal.
  const threaded = await startReceiver({
    WHOCHANGED_INGEST_THREADS: '1',
    WHOCHANGED_REDACTION_KEY_FILE: join(without.folder, 'keys/redaction.key'),
  });
  try {
    for (const { body } of batches) {
      for (const receiver of [without, threaded])
        expect(await receiver.post(body)).toMatchObject({ status: 200 });
    }
    const rows = `select (select count(*)::int from events) as events, (select count(*)::int from bodies) as bodies,
      (select encode(sha256(string_agg(digest, '' order by digest)), 'hex') from events) as digests,
      (select md5(string_agg(change_id::text || class || kind || summary || coalesce(diff::text, ''), '' order by change_id)) from changes) as changes`;
    const [expected, got] = await Promise.all(
      [without, threaded].map(async ({ database }) => (await database.pool.query(rows)).rows[0]),
    );
    expect(got).toEqual(expected);
  } finally {
    await without.stop();
    await threaded.stop();
  }
}, 120_000);

it("fails what a thread had been asked when it ends, and doesn't start one over and over", async () => {
  const open = threadedAcceptances(
    { ...data, rules: { ...DEFAULT_REDACTION_RULES, sensitiveNames: ['('] } },
    1,
    log,
  );
  onTestFinished(() => open.stop());
  const acceptance = open.open();
  await expect(acceptance.push(Buffer.from('{}'))).rejects.toMatchObject({ code: 'overloaded' });
  // The next one can't start either; meanwhile bodies are refused, to be sent again.
  expect(() => open.open()).toThrow(/being replaced/);
});
