import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Identities } from '../../../core/identity-map/identities.js';
import { attributeJob } from '../../../jobs/attribute.js';
import { linksJob } from '../../../jobs/links.js';
import { verdictsJob } from '../../../jobs/verdicts.js';
import { BUILT_IN_POLICY } from '../../../main/policy-file.js';
import { encodeContent } from '../../../store/body-encoding.js';
import { createKysely } from '../../../store/database.js';
import { type AnswerCounts, verifyAnswers } from '../../../store/log/verify-answers.js';
import { findBodies } from '../../../store/queries/bodies.js';
import { findEvent, findRawEvent } from '../../../store/queries/events.js';
import { peopleOf } from '../../../store/verdicts/people.js';
import { Cluster, eventList } from '../../harness/events.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';

let receiver: TestReceiver;
let cluster: { id: number; name: string };
const counts: AnswerCounts = { bodies: 0, changes: 0 };

const run = (sql: string, values: unknown[] = []) => receiver.database.pool.query(sql, values);

async function told(): Promise<string[]> {
  const { pool } = receiver.database;
  const found: string[] = [];
  for await (const { kind, what, detail } of verifyAnswers(pool, createKysely(pool), cluster, counts))
    found.push(`${kind}: ${what}: ${detail}`);
  return found;
}

beforeAll(async () => {
  receiver = await startReceiver();
  const acting = new Cluster();
  await receiver.post(
    eventList([
      acting.deployment('create', 'web', { image: 'web:1' }),
      acting.deployment('update', 'web', { image: 'web:2' }),
      acting.deployment('update', 'web', { image: 'web:3' }, { user: { username: 'bob@example.com' } }),
      acting.event({ verb: 'get', requestURI: '/version', objectRef: undefined }),
    ]),
  );
  const client = await receiver.database.pool.connect();
  const policy = () => Promise.resolve(BUILT_IN_POLICY);
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  for (const job of [
    attributeJob(),
    linksJob(policy),
    verdictsJob({ policy, git: undefined, people: peopleOf(new Identities([])) }),
  ])
    await job.runOnce({ client, now: () => new Date(), log, signal: new AbortController().signal });
  client.release();
  cluster = (await run('select id, name from clusters')).rows[0];
});
afterAll(() => receiver.stop());

it('finds nothing in an untouched ledger, and looks at all of it', async () => {
  expect(await told()).toEqual([]);
  const { rows } = await run('select (select count(*)::int from bodies) as bodies, 3 as changes');
  expect(counts).toEqual(rows[0]);
  expect(rows[0].bodies).toBeGreaterThan(3);
});

describe('whoever writes to what answers are read from', () => {
  const TABLES = [
    'bodies',
    'body_packs',
    'changes',
    'current_verdicts',
    'users',
    'erased_bodies',
    'event_rows',
    'event_contexts',
  ];
  const LAST = `(select max(at) from changes)`;

  beforeAll(async () => {
    for (const table of TABLES) await run(`create table kept_${table} as table ${table}`);
  });
  afterEach(async () => {
    for (const table of TABLES) {
      await run(`delete from ${table}`);
      await run(`insert into ${table} table kept_${table}`);
    }
    expect(await told()).toEqual([]);
  });

  it.each([
    [
      'lays a change at another\u2019s door',
      `update changes set user_id = (select id from users where username = 'alice@example.com') where at = ${LAST}`,
      /^altered: change: its user: not what its event says$/,
    ],
    [
      'has it come from elsewhere',
      `with other as (
         insert into event_contexts
         select (jsonb_populate_record(x, jsonb_build_object('id', 7, 'source_ips', array['203.0.113.9']))).*
           from event_contexts x join changes c on c.context_id = x.id where c.at = ${LAST} returning id)
       update changes set context_id = other.id from other where at = ${LAST}`,
      /^altered: change: its context: not what its event says$/,
    ],
    [
      'makes another object of it',
      `update changes set name = 'other', namespace = 'else' where at = ${LAST}`,
      /^altered: change: its object, object id: /,
    ],
    [
      'makes another time and verb of it',
      `update changes set verb = 'patch', completed_at = completed_at - interval '1 hour' where at = ${LAST}`,
      /^altered: change: its verb, time of its end: /,
    ],
    [
      'gives it another event',
      `update changes set event_digest = sha256(event_digest) where at = ${LAST}`,
      /^added: change: no event tells of it$/,
    ],
    [
      'takes a change away',
      `delete from changes where at = ${LAST}`,
      /^removed: change: event \d+-[0-9a-f]+-\d+ tells of it, and it is gone$/,
    ],
    [
      'invents a change',
      `insert into changes select (jsonb_populate_record(c, jsonb_build_object('change_id', gen_random_uuid()))).* from changes c where at = ${LAST}`,
      /^altered: change: its id: /,
    ],
    [
      'calls it approved where lists are filtered',
      `update current_verdicts set verdict = 'approved', reason = null where at = ${LAST}`,
      /^altered: verdict: in force is approved, and the newest that was given is \w/,
    ],
    [
      'takes the verdict off',
      `update current_verdicts set verdict = null where at = ${LAST}`,
      /^removed: verdict: in force is none/,
    ],
    [
      'takes a body away without erasing it lawfully',
      `delete from bodies b using events e where e.at = ${LAST} and b.digest = e.response_digest`,
      /^removed: body: event \d+-.* has it, nobody has erased it lawfully/,
    ],
  ])('%s: it is named', async (_name, attack, expected) => {
    expect((await run(attack)).rowCount).toBe(1);
    expect(await told()).toEqual([expect.stringMatching(expected)]);
  });

  it('puts another body in the place of one: it is named, and told to nobody', async () => {
    const { rows } = await run(
      `select (extract(epoch from at) * 1000000)::bigint || '-' || encode(digest, 'hex') || '-' || source_id as id, response_digest
         from events where at = ${LAST}`,
    );
    const db = createKysely(receiver.database.pool);
    const read = async () => findRawEvent(db, (await findEvent(db, rows[0].id))!, []);
    expect(await read()).toMatchObject({
      digestVerified: true,
      event: { responseObject: { kind: 'Deployment' } },
    });
    const forged = await encodeContent(
      Buffer.from(JSON.stringify({ kind: 'Deployment', spec: { image: 'web:2' } })),
    );
    await run(
      'update bodies set content = $1, encoding = $2, pack_id = null, pack_offset = null where digest = $3',
      [forged.content, forged.encoding, rows[0].response_digest],
    );
    expect(await told()).toEqual(['altered: body: its content no longer has its digest']);
    const { event, digestVerified } = await read();
    expect(digestVerified).toBe(false);
    expect(event.responseObject).toBeUndefined();
    expect(await findBodies(db, cluster.id, [rows[0].response_digest])).toEqual(new Map());
    await run('update bodies set content = $1 where digest = $2', [
      Buffer.from('no deflate'),
      rows[0].response_digest,
    ]);
    expect(await told()).toEqual(['altered: body: its content no longer has its digest']);
  });

  it('alters what several bodies stand in: each is named, and none is told', async () => {
    const { rows } = await run('select digest from bodies where pack_id is not null');
    expect(rows.length).toBeGreaterThan(3);
    const db = createKysely(receiver.database.pool);
    const read = () =>
      findBodies(
        db,
        cluster.id,
        rows.map(({ digest }) => digest),
      );
    expect((await read()).size).toBe(rows.length);
    for (const attack of [
      `update body_packs set content = 'no deflate'`,
      'delete from body_packs',
      'update bodies set pack_offset = pack_offset + 1 where pack_id is not null',
    ]) {
      await run(attack);
      expect(await told()).toEqual(rows.map(() => 'altered: body: its content no longer has its digest'));
      expect(await read()).toEqual(new Map());
    }
  });
});
