import { afterAll, beforeAll, expect, it } from 'vitest';
import { dropEmptyPartitions, ensurePartitions } from '../../store/partitions.js';
import { withClient } from '../harness/database.js';
import { Cluster, eventList } from '../harness/events.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';

const NOW = '2026-11-28T12:00:00Z';
const MARCH = 2026 * 12 + 2;

let receiver: TestReceiver;
const cluster = new Cluster();

const query = async (sql: string) => (await receiver.database.pool.query(sql)).rows;
const send = async (name: string) => {
  const item = cluster.deployment('create', name, { image: 'web:1' });
  expect((await receiver.post(eventList([item]))).status).toBe(200);
};
const places = () => query('select tableoid::regclass::text as place from event_rows order by seq');
const partitions = async () =>
  (
    await query(
      `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'event_rows'::regclass`,
    )
  )
    .map(({ name }) => name)
    .sort();

const drop = (now = NOW) => withClient(receiver.database.pool, (client) => dropEmptyPartitions(client, now));

beforeAll(async () => {
  receiver = await startReceiver();
  await send('a');
});
afterAll(() => receiver.stop());

it('keeps the partition of a month that holds rows, and of one that has just ended', async () => {
  expect(await places()).toEqual([{ place: 'event_rows_2026_03' }]);
  await withClient(receiver.database.pool, (client) => ensurePartitions(client, [2026 * 12 + 9]));
  expect(await drop()).toEqual([]);
  expect(await partitions()).toEqual(['event_rows_2026_03', 'event_rows_2026_10', 'event_rows_default']);
});

it('waits no longer than briefly for a lock, so that writers go on', async () => {
  await query('delete from changes');
  await query('delete from event_rows');
  const reader = await receiver.database.pool.connect();
  await reader.query('begin');
  await reader.query('select from events');
  await reader.query('select from changes');
  const dropping = drop();
  await send('b');
  expect(await dropping).toEqual([]);
  await reader.query('commit');
  reader.release();
  expect(await places()).toEqual([{ place: 'event_rows_2026_03' }]);
});

it('drops what is empty, takes a late event all the same, and gives it its partition when that is made again', async () => {
  await query('delete from changes');
  await query('delete from event_rows');
  expect(await drop()).toEqual(['event_rows_2026_03', 'changes_2026_03']);
  expect(await partitions()).toEqual(['event_rows_2026_10', 'event_rows_default']);
  // This writer knew the partition.
  await send('c');
  expect(await places()).toEqual([{ place: 'event_rows_default' }]);
  const before = await query('select * from events');
  await withClient(receiver.database.pool, (client) => ensurePartitions(client, [MARCH]));
  expect(await places()).toEqual([{ place: 'event_rows_2026_03' }]);
  expect(await query('select * from events')).toEqual(before);
  expect(await query('select tableoid::regclass::text as place from changes')).toEqual([
    { place: 'changes_2026_03' },
  ]);
  const indexes = (table: string) =>
    query(`select count(*) as n from pg_indexes where tablename = '${table}'`);
  expect(await indexes('event_rows_2026_03')).toEqual(await indexes('event_rows_2026_10'));
  await send('d');
  expect(await places()).toEqual([{ place: 'event_rows_2026_03' }, { place: 'event_rows_2026_03' }]);
});
