import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventList } from '../../harness/events.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';
import { ENVELOPES } from './envelopes.js';

let receiver: TestReceiver;
beforeAll(async () => {
  receiver = await startReceiver({ WHOCHANGED_INGEST_THREADS: '1' });
});
afterAll(() => receiver.stop());

/** Stores an object as an object store's reader will: accepted in a thread, written under the source of the webhook. */
async function store(body: string | Buffer, format: 'auto' | 'cloudwatch-subscription' | 'aks' = 'auto') {
  const { acceptances, writer } = receiver.ingest.webhook.receiver;
  const { rows } = await receiver.database.pool.query(
    `select id, cluster_id from sources where name = 'prod-a'`,
  );
  const acceptance = acceptances.open(format);
  const first = await acceptance.push(Buffer.from(body as string));
  const last = await acceptance.end();
  const result = await writer.submit({
    sourceID: rows[0].id,
    clusterID: rows[0].cluster_id,
    receivedAt: Date.now() * 1000,
    accepted: [...first.accepted, ...last.accepted],
    rejections: [...first.rejections, ...last.rejections],
  });
  return {
    ...result,
    format: last.format,
    skipped: first.skipped,
    salvaged: first.salvaged! + last.salvaged!,
  };
}

/** A subscription's record, with these events at these milliseconds. */
function subscription(events: Array<[millis: number, event: unknown]>): string {
  return JSON.stringify({
    messageType: 'DATA_MESSAGE',
    owner: '111122223333',
    logGroup: '/aws/eks/prod/cluster',
    logStream: 'kube-apiserver-audit-00000000000000000000000000000000',
    subscriptionFilters: ['whochanged'],
    logEvents: events.map(([timestamp, event], i) => ({
      id: String(i),
      timestamp,
      message: JSON.stringify(event),
    })),
  });
}

describe('events of CloudWatch', () => {
  it('are neither lost nor doubled where they share a millisecond, come late, or come again', async () => {
    const cluster = new Cluster();
    const events = Array.from({ length: 12 }, (_, i) =>
      cluster.deployment('create', `cw-${i}`, { image: 'a' }),
    );
    const sharing = events.slice(0, 6).map((event): [number, unknown] => [1772442001254, event]);
    const late = events.slice(6).map((event, i): [number, unknown] => [1772441001254 - i, event]);
    expect(await store(subscription(sharing) + subscription(late.slice(0, 3)))).toMatchObject({
      format: 'cloudwatch-subscription',
      stored: 9,
      duplicates: 0,
    });
    // Delivered again, in another order, together with what was late.
    expect(
      await store(subscription([...late.reverse(), ...sharing]), 'cloudwatch-subscription'),
    ).toMatchObject({
      stored: 3,
      duplicates: 9,
    });
    // And the same requests by the webhook.
    expect(await receiver.post(eventList(events))).toMatchObject({ body: { stored: 0, duplicates: 12 } });
    const { rows } = await receiver.database.pool.query(
      `select count(*)::int as events, count(distinct name)::int as names from changes where name like 'cw-%'`,
    );
    expect(rows).toEqual([{ events: 12, names: 12 }]);
  });
});

describe('an object read in a thread', () => {
  it('tells what was skipped and salvaged, and keeps no secret of what was cut', async () => {
    const body = readFileSync(join(ENVELOPES, 'aks/storage-account.json'));
    expect(await store(body)).toMatchObject({
      format: 'aks',
      stored: 6,
      duplicates: 2,
      quarantined: 2,
      salvaged: 1,
      skipped: { other_log_category: 2 },
    });
    const { rows } = await receiver.database.pool.query(
      `select e.audit_id from events e where e.annotations ? 'whochanged/salvaged'`,
    );
    expect(rows).toEqual([{ audit_id: '11111111-0000-4000-8000-000000000002' }]);
    const { rows: kept } = await receiver.database.pool.query('select sample from quarantine');
    expect(JSON.stringify(kept)).not.toContain('c3ludGhldGlj');
  });

  it('is refused with the same words as elsewhere', async () => {
    await expect(store('{"no":"audit event"}')).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining('JSON object with the fields no'),
      hint: expect.stringContaining('audit-log'),
    });
  });
});
