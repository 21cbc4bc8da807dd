import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordUptimes } from '../../../store/completeness/uptimes.js';
import { Cluster } from '../../harness/events.js';
import { Probing } from './probing.js';

let probing: Probing;
beforeEach(async () => {
  probing = await Probing.start();
});
afterEach(() => probing.stop());

const SECOND = 1_000_000;

describe('a canary', () => {
  it('is written, comes back, and its way is measured', async () => {
    expect(await probing.run('writeCanaries')).toBe(1);
    // Made where it was not there; the first attempt is audited too.
    const told = probing.apiserver.take();
    expect(told.map(({ verb }) => verb)).toEqual(['patch', 'patch', 'create', 'create']);
    probing.apiserver.wait(7);
    await probing.deliver(told);
    await probing.run('findGaps');
    expect(await probing.rows('select state from canaries')).toEqual([{ state: 'seen' }]);
    expect(await probing.registry.metrics()).toMatch(
      /^whochanged_canary_latency_seconds_sum\{source="prod-a"\} 7\.\d+$/m,
    );
    expect(await probing.gaps()).toEqual([]);
    // Not again for five minutes, and then the Lease is there.
    expect(await probing.run('writeCanaries')).toBe(0);
    probing.apiserver.wait(300);
    expect(await probing.run('writeCanaries')).toBe(1);
    expect(probing.apiserver.take().map(({ verb }) => verb)).toEqual(['patch', 'patch']);
  });

  it('that does not come back is a gap, until it does', async () => {
    await probing.run('writeCanaries');
    const told = probing.apiserver.take();
    probing.apiserver.wait(299);
    await probing.run('findGaps');
    expect(await probing.gaps()).toEqual([]);
    probing.apiserver.wait(10);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([
      { cause: 'canary_missing', state: 'open', expected: '1', received: '0' },
    ]);
    await probing.deliver(told);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([{ state: 'closed', closed_reason: 'late_arrival' }]);
    // What renews a Lease is bookkeeping.
    expect(
      await probing.rows(`select count(*)::int from changes where class in ('change', 'access')`),
    ).toEqual([{ count: 0 }]);
  });

  it('that can’t be written is no gap, and says what is wrong', async () => {
    probing.apiserver.mayWriteLeases = false;
    expect(await probing.run('writeCanaries')).toBe(0);
    expect(await probing.rows('select canary_error from source_probes')).toEqual([
      {
        canary_error: `${probing.apiserver.url} answered 403: may it patch and create leases in the namespace kube-system?`,
      },
    ]);
    expect(await probing.rows('select 1 from canaries')).toEqual([]);
    expect(await probing.registry.metrics()).toMatch(/^whochanged_canary_up\{source="prod-a"\} 0$/m);
  });
});

describe('what came incomplete', () => {
  it('is a gap where an object’s generation jumps, until the write between comes late', async () => {
    const cluster = new Cluster();
    const at = (generation: number, image: string) =>
      cluster.write(
        generation === 1 ? 'create' : 'patch',
        { group: 'apps', resource: 'deployments', namespace: 'shop', name: 'web' },
        { kind: 'Deployment', metadata: { generation }, spec: { replicas: 1, image } },
      );
    const [first, second, third] = [at(1, 'a'), at(2, 'b'), at(3, 'c')];
    await probing.deliver([first, third]);
    await probing.run('findGaps');
    const [gap] = await probing.gaps();
    expect(gap).toMatchObject({
      cause: 'generation_gap',
      state: 'open',
      missing: '1',
      since: first.requestReceivedTimestamp,
      until: third.requestReceivedTimestamp,
      evidence: { generation: 3, generationBefore: 1 },
    });
    await probing.run('findGaps');
    await probing.deliver([second]);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([{ state: 'closed', closed_reason: 'late_arrival' }]);
  });

  it('is a gap where the apiserver cut a change’s content off', async () => {
    const cluster = new Cluster();
    const cut = (): Record<string, unknown> => {
      const {
        requestObject: _q,
        responseObject: _r,
        ...event
      } = cluster.deployment('patch', 'web', { image: 'web:1' });
      return { ...event, annotations: { 'audit.k8s.io/truncated': 'true' } };
    };
    const [first, second, third] = [cut(), cut(), cut()];
    await probing.deliver([first, second]);
    await probing.run('findGaps');
    await probing.deliver([third]);
    await probing.run('findGaps');
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([
      {
        cause: 'truncated',
        missing: '3',
        state: 'open',
        since: first.requestReceivedTimestamp,
        evidence: { auditIDs: [first.auditID, second.auditID, third.auditID] },
      },
    ]);
  });

  it('is a gap where an event could not be read, until it is replayed or dismissed', async () => {
    const { verb: _, ...bad } = new Cluster().event({ requestURI: '/x' });
    await probing.deliver([bad, { kind: 'Nothing' }]);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([{ cause: 'quarantined', missing: '2', state: 'open' }]);
    await probing.rows(
      `update quarantine set state = 'replayed' where id = (select min(id) from quarantine)`,
    );
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([{ missing: '1', state: 'open' }]);
    await probing.rows(`update quarantine set state = 'replayed'`);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([{ state: 'closed', closed_reason: 'replayed' }]);
  });
});

describe('a time in which nothing was received', () => {
  /** A receiver that was up between two times, in seconds before now. */
  const up = (since: number, until: number, refusals: Parameters<typeof recordUptimes>[2] = []) =>
    recordUptimes(
      probing.receiver.database.pool,
      [
        {
          process: randomUUID(),
          since: probing.apiserver.now - since * SECOND,
          until: probing.apiserver.now - until * SECOND,
        },
      ],
      refusals,
    );

  beforeEach(async () => {
    // Those that the receiver of this test told are of another time; the source has been there for long.
    await probing.receiver.ingest.stop();
    await probing.rows('delete from receiver_uptimes');
    await probing.rows(`update sources set created_at = '2020-01-01'`);
    await probing.rows(`insert into source_health (source_id, last_received_at) values (1, '2026-01-01')`);
  });

  it('is a gap when the apiserver’s webhook gave up meanwhile, and none when it did not', async () => {
    await up(9000, 8000);
    await up(7950, 4000);
    await up(3900, 0);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([
      { cause: 'receiver_down', state: 'open', missing: null, evidence: { seconds: 100 } },
    ]);
    expect(await probing.registry.metrics()).toMatch(/^whochanged_receiver_downtime_seconds 150$/m);
    // It was up after all: it could not tell before.
    await up(4100, 3800);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([{ state: 'closed', closed_reason: 'receiver_was_up' }]);
  });

  it('is a gap while it goes on', async () => {
    await up(900, 200);
    await probing.run('findGaps');
    probing.apiserver.wait(60);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([
      { cause: 'receiver_down', evidence: { seconds: 260 }, state: 'open' },
    ]);
  });

  it('is no gap where another receiver was up', async () => {
    await up(9000, 4000);
    await up(9000, 0);
    await probing.run('findGaps');
    expect(await probing.gaps()).toEqual([]);
  });

  it('is a gap where batches were refused for as long', async () => {
    const refused = (since: number, until: number) => ({
      sourceID: 1,
      since: probing.apiserver.now - since * SECOND,
      until: probing.apiserver.now - until * SECOND,
      batches: 2,
      code: 'overloaded',
    });
    await up(9000, 0, [refused(5000, 4995), refused(900, 895), refused(860, 850), refused(815, 800)]);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([
      { cause: 'batches_refused', evidence: { batches: 6, codes: ['overloaded'] }, state: 'open' },
    ]);
  });

  it('closes where the counters show that all came', async () => {
    await probing.minute(0);
    await probing.minute(0);
    await probing.minute(0);
    await probing.minute(0);
    await up(9000, 170);
    await up(70, 0);
    await probing.run('findGaps');
    await probing.run('findGaps');
    expect(await probing.verdicts()).toEqual(['first_sample', 'complete', 'complete', 'complete']);
    expect(await probing.gaps()).toMatchObject([
      { cause: 'receiver_down', state: 'closed', closed_reason: 'counters_complete' },
    ]);
  });
});
