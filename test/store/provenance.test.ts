import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newSecret } from '../../store/api-tokens.js';
import { createKysely } from '../../store/database.js';
import { findChangeDetail } from '../../store/queries/change-detail.js';
import { findChange } from '../../store/queries/changes.js';
import { createSource } from '../../store/sources.js';
import { Cluster, eventList } from '../harness/events.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';

/** A receiver whose cluster has a second source, as a proxy of audit events or a bucket with the same log is one. */
interface TwoSources extends TestReceiver {
  tell(source: 'prod-a' | 'second', events: unknown[]): Promise<Record<string, unknown>>;
}

let receiver: TwoSources;
beforeEach(async () => {
  receiver = await startTwoSources();
});
afterEach(() => receiver.stop());

async function startTwoSources(): Promise<TwoSources> {
  const started = await startReceiver();
  const { secret, sha256 } = newSecret('wcs');
  const client = await started.database.pool.connect();
  await createSource(client, { name: 'second', cluster: 'prod', secretSha256: sha256 });
  client.release();
  await started.ingest.webhook.registry.refresh();
  return {
    ...started,
    tell: async (source, events) => {
      const token = source === 'second' ? secret : started.token;
      const answer = await started.post(eventList(events), { authorization: `Bearer ${token}` }, source);
      expect(answer.status).toBe(200);
      return answer.body;
    },
  };
}

/** A write in two stages. */
function write(
  cluster = new Cluster(),
): [received: Record<string, unknown>, complete: Record<string, unknown>] {
  const complete = cluster.deployment('create', 'web', { image: 'web:1' });
  const { responseStatus: _s, responseObject: _o, requestObject: _r, ...received } = complete;
  return [{ ...received, stage: 'RequestReceived' }, complete];
}

async function changes(from: TestReceiver = receiver) {
  const { rows } = await from.database.pool.query(
    'select change_id, kind, summary, outcome, flags from changes order by at, change_id',
  );
  return rows;
}

async function findings() {
  const { rows } = await receiver.database.pool.query('select kind, detail from findings order by id');
  return rows;
}

async function sourcesOf(changeID: string) {
  const db = createKysely(receiver.database.pool);
  const row = await findChange(db, changeID);
  return (await findChangeDetail(db, row!)).extra.sources;
}

describe('a request that two sources tell of', () => {
  it('is one change, and names both', async () => {
    const [received, complete] = write();
    await receiver.tell('prod-a', [received, complete]);
    expect(await receiver.tell('second', [received, complete])).toMatchObject({ stored: 2, duplicates: 0 });
    await receiver.database.pool.query(`update sources set kind = 's3' where name = 'second'`);
    const [change, ...others] = await changes();
    expect(others).toEqual([]);
    expect(change).toMatchObject({ kind: 'create', summary: 'created (web:1, 1 replica)', flags: null });
    expect(await findings()).toEqual([]);
    const [first, second] = await sourcesOf(change.change_id);
    expect(first).toMatchObject({
      source: 'prod-a',
      kind: 'webhook',
      agreement: 'equal',
      stages: [{ stage: 'RequestReceived' }, { stage: 'ResponseComplete' }],
    });
    expect(second).toMatchObject({ source: 'second', kind: 's3', agreement: 'equal' });
    expect(second!.stages.map(({ digest }) => digest)).toEqual(first!.stages.map(({ digest }) => digest));
    expect(BigInt(second!.firstSeq)).toBeGreaterThan(BigInt(first!.firstSeq));
  });

  it('is one change where each tells of one stage only', async () => {
    const [received, complete] = write();
    await receiver.tell('second', [received]);
    await receiver.tell('prod-a', [complete]);
    const [change, ...others] = await changes();
    expect(others).toEqual([]);
    expect(await sourcesOf(change.change_id)).toMatchObject([
      { source: 'second', agreement: 'only', stages: [{ stage: 'RequestReceived' }] },
      { source: 'prod-a', agreement: 'only', stages: [{ stage: 'ResponseComplete' }] },
    ]);
  });

  it('is one change where their copies differ, which is a finding', async () => {
    const [, complete] = write();
    await receiver.tell('prod-a', [complete]);
    await receiver.tell('second', [{ ...complete, sourceIPs: ['203.0.113.9'] }]);
    const [change, ...others] = await changes();
    expect(others).toEqual([]);
    const told = await sourcesOf(change.change_id);
    expect(told.map(({ agreement }) => agreement)).toEqual(['conflicting', 'conflicting']);
    expect(await findings()).toMatchObject([
      {
        kind: 'conflicting_copies',
        detail: {
          request: change.change_id,
          stage: 'ResponseComplete',
          otherDigest: told[0]!.stages[0]!.digest,
        },
      },
    ]);
  });

  it('has that finding also where both copies come in one transaction', async () => {
    const [, complete] = write();
    await Promise.all([
      receiver.tell('prod-a', [complete]),
      receiver.tell('second', [{ ...complete, userAgent: 'kubectl/v1.0.0' }]),
    ]);
    expect(await changes()).toHaveLength(1);
    expect(await findings()).toMatchObject([{ kind: 'conflicting_copies' }]);
  });

  it('writes nothing twice: what the first copy turned out to be, the second is too', async () => {
    const cluster = new Cluster();
    const first = cluster.deployment('create', 'web', { image: 'web:1' });
    const patch = cluster.deployment('patch', 'web', { image: 'web:2' });
    const { auditID: _id, requestReceivedTimestamp: _at, stageTimestamp: _until, ...again } = patch;
    const noOp = cluster.event(again);
    const later = cluster.deployment('patch', 'web', { image: 'web:3' });
    await receiver.tell('prod-a', [first, patch, noOp, later]);
    await receiver.tell('second', [noOp, later, first, patch]);
    const { rows } = await receiver.database.pool.query(
      'select array_agg(distinct class::text) as classes, count(*)::int as copies from events group by request_id order by min(at)',
    );
    expect(rows).toEqual([
      { classes: ['change'], copies: 2 },
      { classes: ['change'], copies: 2 },
      { classes: ['no_op'], copies: 2 },
      { classes: ['change'], copies: 2 },
    ]);
    expect((await changes()).map(({ summary }) => summary)).toEqual([
      'created (web:1, 1 replica)',
      'image web: web:1 → web:2',
      'image web: web:2 → web:3',
    ]);
  });

  it('comes to the same changes as one source alone, in whatever order copies arrive', async () => {
    const cluster = new Cluster();
    const events = [
      ...write(cluster),
      cluster.deployment('patch', 'web', { image: 'web:2' }),
      cluster.deployment('patch', 'web', { image: 'web:2', replicas: 3 }),
      cluster.deployment('delete', 'web', { image: '' }),
    ];
    await receiver.tell('prod-a', events);
    const expected = await changes();
    const copies = events.flatMap((event) =>
      (['prod-a', 'second'] as const).map((source) => ({ source, event })),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(
          copies.map((_, i) => i),
          { minLength: copies.length },
        ),
        fc.array(fc.integer({ min: 1, max: 3 }), { minLength: copies.length, maxLength: copies.length }),
        async (order, sizes) => {
          const other = await startTwoSources();
          try {
            for (let at = 0, n = 0; at < order.length; at += sizes[n++]!) {
              const batch = order.slice(at, at + sizes[n]!);
              await Promise.all(batch.map((i) => other.tell(copies[i]!.source, [copies[i]!.event])));
            }
            expect(await changes(other)).toEqual(expected);
          } finally {
            await other.stop();
          }
        },
      ),
      { numRuns: 6 },
    );
  });
});
