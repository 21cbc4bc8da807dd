import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setProbes } from '../../../store/completeness/probes.js';
import { createKysely } from '../../../store/database.js';
import { Probing } from './probing.js';

let probing: Probing;
beforeEach(async () => {
  probing = await Probing.start();
});
afterEach(() => probing.stop());

describe('an apiserver’s counters', () => {
  it('prove each minute complete in which all came', async () => {
    for (const requests of [3, 5, 0, 7]) await probing.minute(requests);
    await probing.run('findGaps');
    expect(await probing.verdicts()).toEqual(['first_sample', 'complete', 'complete', 'complete']);
    expect(
      await probing.rows('select expected, received, missing_most from counter_samples order by sampled_at'),
    ).toEqual([
      { expected: null, received: null, missing_most: null },
      { expected: '10', received: '10', missing_most: '0' },
      { expected: '0', received: '0', missing_most: '0' },
      { expected: '14', received: '14', missing_most: '0' },
    ]);
    expect(await probing.gaps()).toEqual([]);
    expect(await probing.registry.metrics()).toMatch(/^whochanged_counters_up\{source="prod-a"\} 1$/m);
  });

  it('show what did not come once it has had time to, and that it came after all', async () => {
    await probing.minute(5);
    await probing.minute(5);
    const lost = await probing.minute(5, 3);
    await probing.minute(5);
    await probing.run('findGaps');
    expect(await probing.verdicts()).toEqual(['first_sample', 'complete', 'in_flight', 'complete']);
    expect(await probing.gaps()).toEqual([]);

    probing.apiserver.wait(400);
    await probing.run('findGaps');
    expect(await probing.verdicts()).toEqual(['first_sample', 'complete', 'incomplete', 'complete']);
    const [gap, ...others] = await probing.gaps();
    expect(others).toEqual([]);
    expect(gap).toMatchObject({
      cause: 'events_missing',
      state: 'open',
      expected: '10',
      received: '7',
      missing: '3',
      evidence: { missingAtMost: 3 },
    });
    expect(await probing.registry.metrics()).toMatch(/^whochanged_gaps_open\{cause="events_missing"\} 1$/m);

    await probing.deliver(lost as Array<Record<string, unknown>>);
    probing.apiserver.wait(3600);
    await probing.run('findGaps');
    expect(await probing.verdicts()).toEqual(['first_sample', 'complete', 'complete', 'complete']);
    expect(await probing.gaps()).toMatchObject([
      { state: 'closed', closed_reason: 'late_arrival', missing: '3' },
    ]);
    // And it stays so.
    probing.apiserver.wait(3600);
    await probing.run('findGaps');
    expect(await probing.gaps()).toHaveLength(1);
  });

  it('are judged as soon as nothing can come any more, though the apiserver is gone by then', async () => {
    await probing.minute(5);
    await probing.minute(5);
    const late = await probing.minute(5, 4);
    const read = probing.apiserver.now;
    const seconds = () => (probing.apiserver.now - read) / 1_000_000;
    // The job's schedule, and an apiserver that answers no more.
    const verdictAfter = async (until: number) => {
      while (seconds() + 20 <= until) {
        probing.apiserver.wait(20);
        await probing.run('findGaps');
      }
      return (await probing.verdicts()).at(-1);
    };
    expect(await verdictAfter(280)).toBe('in_flight');
    // The last moment in which something may come: it is no gap, not for a moment either.
    await probing.deliver(late.slice(0, 2) as Array<Record<string, unknown>>);
    expect(await verdictAfter(320)).toBe('incomplete');
    expect(await probing.gaps()).toMatchObject([{ state: 'open', missing: '2', expected: '10' }]);
    await probing.deliver(late.slice(2) as Array<Record<string, unknown>>);
    expect(await verdictAfter(800)).toBe('complete');
  });

  it('keep a gap open for as long as only some of it has come', async () => {
    await probing.minute(5);
    const lost = await probing.minute(5, 6);
    probing.apiserver.wait(400);
    await probing.run('findGaps');
    await probing.deliver(lost.slice(0, 2) as Array<Record<string, unknown>>);
    probing.apiserver.wait(3600);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([
      { state: 'open', missing: '4', expected: '10', received: '6' },
    ]);
  });

  it('are not fooled by altered copies of what came', async () => {
    await probing.minute(5);
    probing.apiserver.wait(30);
    probing.apiserver.serve(5);
    const [lost, other, ...rest] = probing.apiserver.take();
    expect(lost).toBeDefined();
    await probing.deliver([other!, { ...other, userAgent: 'a copy that makes up the number' }, ...rest]);
    probing.apiserver.wait(30);
    await probing.run('sampleCounters');
    probing.apiserver.wait(400);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([{ cause: 'events_missing', missing: '1' }]);
  });

  it('bound each other through minutes in which nothing could be read, and say nothing across a restart', async () => {
    await probing.minute(4);
    probing.apiserver.metricsAnswer = { status: 500, body: 'secret-looking text of an answer' };
    probing.apiserver.wait(30);
    probing.apiserver.serve(4);
    await probing.deliver();
    probing.apiserver.wait(30);
    expect(await probing.run('sampleCounters')).toBe(0);
    expect(await probing.rows('select metrics_error from source_probes')).toEqual([
      { metrics_error: `${probing.apiserver.url} answered 500` },
    ]);
    expect(await probing.registry.metrics()).toMatch(/^whochanged_counters_up\{source="prod-a"\} 0$/m);
    probing.apiserver.metricsAnswer = undefined;
    await probing.minute(4);
    probing.apiserver.wait(10);
    probing.apiserver.restart();
    await probing.minute(4);
    await probing.minute(4);
    await probing.run('findGaps');
    expect(await probing.verdicts()).toEqual(['first_sample', 'complete', 'restarted', 'complete']);
    expect(probing.logged.join()).not.toContain('secret-looking');
  });

  it('blame what the apiserver itself counted as failed', async () => {
    await probing.minute(4);
    probing.apiserver.errors = { buffered: 2, log: 9 };
    await probing.minute(4, 2);
    probing.apiserver.wait(400);
    await probing.run('findGaps');
    expect(await probing.gaps()).toMatchObject([
      { cause: 'events_missing', missing: '2', evidence: { errors: { buffered: 2, log: 9 } } },
    ]);
  });

  it('are read to the millisecond where the policy logs the requests for them', async () => {
    probing.apiserver.logsMetrics = true;
    // Something happens right when they are read.
    for (let i = 0; i < 3; i++) {
      await probing.minute(3);
      probing.apiserver.wait(0.4);
      probing.apiserver.serve(2);
      await probing.deliver();
    }
    await probing.minute(1);
    await probing.run('findGaps');
    expect(await probing.rows('select anchored, count(*)::int from counter_samples group by 1')).toEqual([
      { anchored: true, count: 4 },
    ]);
    expect(await probing.verdicts()).toEqual(['first_sample', 'complete', 'complete', 'complete']);
  });

  it('leave it open where the answer’s second is all that is known of a busy moment', async () => {
    for (let i = 0; i < 2; i++) {
      await probing.minute(3);
      probing.apiserver.wait(0.4);
      probing.apiserver.serve(2);
      await probing.deliver();
    }
    probing.apiserver.wait(400);
    await probing.run('findGaps');
    expect(await probing.verdicts()).toEqual(['first_sample', 'borders']);
    expect(
      await probing.rows(
        'select missing_least, missing_most from counter_samples order by sampled_at desc limit 1',
      ),
    ).toEqual([{ missing_least: '0', missing_most: '4' }]);
  });
});

describe('what is wrong with a probe', () => {
  const set = (probe: Partial<{ url: string; token: string; ca: string | null }>) =>
    setProbes(createKysely(probing.receiver.database.pool), 1, {
      metrics: {
        url: `${probing.apiserver.url}/metrics`,
        token: `file:${join(probing.folder, 'token')}`,
        ca: `file:${join(probing.folder, 'ca.crt')}`,
        cert: null,
        key: null,
        ...probe,
      },
    });
  const problem = async () => {
    expect(await probing.run('sampleCounters')).toBe(0);
    return (await probing.rows('select metrics_error from source_probes'))[0].metrics_error as string;
  };

  it('is said, and holds no secret', async () => {
    await writeFile(join(probing.folder, 'other'), 'another-token');
    await set({ token: `file:${join(probing.folder, 'other')}` });
    expect(await problem()).toBe(`${probing.apiserver.url} answered 401`);
    await set({ token: 'file:/etc/passwd' });
    expect(await problem()).toMatch(/^credential file:\/etc\/passwd: it is not in /);
    await set({ ca: null });
    expect(await problem()).toMatch(
      /: (UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT_LOCALLY)$/,
    );
    await set({ url: 'https://127.0.0.1:1/metrics' });
    expect(await problem()).toBe('https://127.0.0.1:1: ECONNREFUSED');
    await set({ url: 'http://metrics.example.invalid/metrics' });
    expect(await problem()).toBe('http://metrics.example.invalid is not https: the token was not sent');
    probing.apiserver.metricsAnswer = { status: 200, body: 'go_goroutines 5\n' };
    await set({});
    expect(await problem()).toBe(
      'the answer has no apiserver_audit_event_total: is this the /metrics of a kube-apiserver?',
    );
    expect(probing.logged.join()).not.toContain('another-token');
    expect(probing.logged.join()).not.toContain(probing.apiserver.token);
  });
});
