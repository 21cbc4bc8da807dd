import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import { Traffic } from '../../bench/traffic.js';
import type { ActionFile, ActionTime } from '../e2e/session/actions.js';
import { compareAction, findAnswers } from '../e2e/session/judge.js';
import { eventList } from '../harness/events.js';
import { startReceiver } from '../harness/receiver.js';

const FOLDER = join(import.meta.dirname, '../fixtures/session');
const text = (file: string) => readFileSync(join(FOLDER, file), 'utf8');

interface Event {
  auditID: string;
  stage: string;
  level: string;
  verb: string;
  user: { username: string };
  userAgent?: string;
  objectRef?: { resource?: string; subresource?: string };
  responseStatus?: { code?: number };
  requestObject?: unknown;
  responseObject?: unknown;
  requestReceivedTimestamp: string;
}

const traffic = new Traffic();
const read = (lines: string[]) => lines.map((line) => JSON.parse(line) as Event);
const AUDIT_ID = /"auditID":"([^"]+)"/;
const RECEIVED = /"requestReceivedTimestamp":"([^"]+)"/;
const recorded = gunzipSync(readFileSync(join(FOLDER, 'recording.ndjson.gz')))
  .toString('utf8')
  .trim()
  .split('\n');

/** How many of these events say so, by what they say. */
function shares(events: Event[], say: (event: Event) => unknown): Map<string, number> {
  const counts = new Map<string, number>();
  for (const event of events) {
    const word = String(say(event));
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

it('gives the same bytes for the same number, and other requests on other objects, later, for another', () => {
  const [three, four] = [traffic.session(3), traffic.session(4)];
  expect(new Traffic().session(3).join('\n') === three.join('\n')).toBe(true);
  expect(four).toHaveLength(three.length);
  // Without parsing megabytes once for each question.
  const all = (lines: string[], field: RegExp) => lines.map((line) => field.exec(line)![1]!);
  const ids = new Set(all(three, AUDIT_ID));
  expect(all(four, AUDIT_ID).filter((id) => ids.has(id))).toEqual([]);
  const [last, first] = [all(three, RECEIVED).sort().at(-1)!, all(four, RECEIVED).sort()[0]!];
  expect(last < first).toBe(true);
  expect(three.some((line) => line.includes('shop-4'))).toBe(false);
  expect(four.some((line) => line.includes('shop-3'))).toBe(false);

  const bodies = [...traffic.batches([3, 4])];
  expect(bodies.slice(0, -1).every(({ events }) => events === 400)).toBe(true);
  const head = eventList([]).slice(0, -2);
  const items = bodies.map(({ body }) => (body.startsWith(head) ? body.slice(head.length, -2) : body));
  // Not shown where they differ: they are megabytes.
  expect(items.join(',') === [...three, ...four].join(',')).toBe(true);
});

it('has the mix of the recorded cluster', () => {
  const original = read(recorded);
  const session = traffic.session(5);
  const generated = read(session);
  // A handful of huge objects are left out.
  expect(original.length - generated.length).toBeLessThan(original.length / 500);
  const says: Array<(event: Event) => unknown> = [
    (event) => event.verb,
    (event) => event.stage,
    (event) => event.level,
    (event) => event.user.username,
    (event) => event.userAgent?.split('/')[0],
    (event) => event.responseStatus?.code,
    (event) => `${event.objectRef?.resource}/${event.objectRef?.subresource}`,
  ];
  for (const say of says) {
    const wanted = shares(original, say);
    const got = shares(generated, say);
    expect([...got.keys()].sort()).toEqual([...wanted.keys()].sort());
    for (const [word, count] of wanted)
      expect(count - got.get(word)!, word).toBeLessThan(original.length / 500);
  }
  const sizes = (lines: string[]) => lines.map((line) => line.length).sort((a, b) => a - b);
  const [before, after] = [sizes(recorded), sizes(session)];
  for (const share of [0.1, 0.5, 0.9, 0.99]) {
    const [wanted, got] = [before, after].map((list) => list[Math.floor(list.length * share)]!);
    expect(Math.abs(got! / wanted! - 1), `size at ${share}`).toBeLessThan(0.05);
  }

  const lean = read(new Traffic({ lean: true }).session(5));
  const noise = (event: Event) =>
    event.objectRef?.subresource === 'status' ||
    ['leases', 'events'].includes(event.objectRef?.resource ?? '');
  expect(lean.filter(noise).length).toBeGreaterThan(500);
  for (const event of lean.filter(noise))
    expect([event.level, event.requestObject, event.responseObject]).toEqual([
      'Metadata',
      undefined,
      undefined,
    ]);
  expect(lean.filter((event) => !noise(event))).toEqual(generated.filter((event) => !noise(event)));
});

it('is told by the ledger as who did what in the recorded cluster, moved to its own namespaces and times', async () => {
  const n = 7;
  const seconds = 20;
  const file = parse(text('actions.yaml').replaceAll('shop', `shop-${n}`)) as ActionFile;
  const move = (at: string) => new Date(Date.parse(at) + n * 190_000).toISOString();
  const times = (JSON.parse(text('recording-times.json')) as ActionTime[]).map((time) => ({
    ...time,
    started_at: move(time.started_at),
    finished_at: move(time.finished_at),
  }));
  const since = Date.parse(times[0]!.started_at);
  const until = since + seconds * 1000;
  const lines = traffic.session(n).filter((line) => {
    const at = Date.parse(RECEIVED.exec(line)![1]!);
    return at >= since && at < until;
  });
  expect(lines.length).toBeGreaterThan(300);

  const receiver = await startReceiver();
  onTestFinished(receiver.stop);
  const answer = await receiver.post(eventList(read(lines)));
  expect(answer).toMatchObject({ status: 200, body: { stored: lines.length, quarantined: 0 } });
  const { rows } = await receiver.database.pool.query<{ key: string }>(
    `select audit_id || ' ' || stage as key from events`,
  );
  expect(rows.map((row) => row.key).sort()).toEqual(
    read(lines)
      .map((event) => `${event.auditID} ${event.stage}`)
      .sort(),
  );

  const answers = await findAnswers(receiver.database.pool);
  const done = file.actions.filter(({ id }) => {
    const time = times.find((item) => item.id === id)!;
    return Date.parse(time.finished_at) + 700 < until;
  });
  expect(done.length).toBeGreaterThan(15);
  for (const action of done)
    expect([action.id, compareAction(file, times, answers, action)]).toEqual([action.id, []]);
});
