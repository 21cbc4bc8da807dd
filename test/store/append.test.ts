import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Cluster, eventList } from '../harness/events.js';
import { addSource, startReceiver, type TestReceiver } from '../harness/receiver.js';

let receiver: TestReceiver;
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(() => receiver.stop());

/** What the ledger says of every write, without what depends on when it came in. */
async function ledger(source: string): Promise<unknown[]> {
  const { rows } = await receiver.database.pool.query(
    `select e.class as event_class, c.class, c.kind, c.outcome, c.resource, c.name, c.summary, c.flags, c.deleted, c.order_rv, c.labels,
            c.field_terms, c.diff, encode(c.before_digest, 'hex') as before, encode(c.after_digest, 'hex') as after, c.after_certainty
       from events e
       left join changes c on c.cluster_id = e.cluster_id and c.change_id = e.request_id and c.event_digest = e.digest
      where e.source_id = (select id from sources where name = $1) and e.class <> 'stage' order by e.at, e.stage`,
    [source],
  );
  return rows;
}

/** An hour in a namespace, with what makes order matter: no-ops, deletion and re-creation, an exec, a write without body, a reused auditID. */
function story(): Array<Record<string, unknown>> {
  const cluster = new Cluster();
  const events = [cluster.deployment('create', 'web', { image: 'web:1', replicas: 2 })];
  const update = cluster.deployment(
    'patch',
    'web',
    { image: 'web:2', replicas: 2 },
    { user: { username: 'bob@example.com' } },
  );
  events.push(update);
  // The same again: the storage skips it and answers with the resourceVersion that is there.
  const { auditID: _id, requestReceivedTimestamp: _at, stageTimestamp: _until, ...again } = update;
  events.push(cluster.event(again));
  events.push(cluster.deployment('update', 'web', { image: 'web:2', replicas: 5 }));
  const exec = {
    verb: 'get',
    requestURI: '/api/v1/namespaces/shop/pods/web-1/exec?command=sh&container=web',
    objectRef: { resource: 'pods', namespace: 'shop', name: 'web-1', subresource: 'exec', apiVersion: 'v1' },
  };
  const started = cluster.event({ ...exec, stage: 'ResponseStarted', responseStatus: { code: 101 } });
  events.push(started, {
    ...started,
    stage: 'ResponseComplete',
    stageTimestamp: '2026-03-02T10:00:00.000000Z',
  });
  const {
    requestObject: _q,
    responseObject: _r,
    ...bare
  } = cluster.deployment('patch', 'web', { image: 'web:3', replicas: 5 });
  events.push({ ...bare, level: 'Metadata' });
  const patch = { spec: { template: { spec: { containers: [{ name: 'web', image: 'web:4' }] } } } };
  events.push(cluster.deployment('patch', 'web', { image: 'web:4', replicas: 5 }, { requestObject: patch }));
  events.push(cluster.deployment('delete', 'web', { image: '' }));
  events.push(cluster.deployment('create', 'web', { image: 'web:9' }));
  events.push(cluster.deployment('patch', 'web', { image: 'web:9', replicas: 0 }));
  // Another request under the auditID of the first, in two stages.
  const reusing = cluster.deployment(
    'create',
    'other',
    { image: 'other:1' },
    { auditID: events[0]!.auditID },
  );
  const { responseStatus: _s, responseObject: _o, ...received } = reusing;
  events.push({ ...received, stage: 'RequestReceived' }, reusing);
  return events;
}

describe('Ledger.append', () => {
  it('tells the story as it happened', async () => {
    await receiver.post(eventList(story()));
    const rows = (await ledger('prod-a')) as Array<{
      event_class: string;
      kind: string | null;
      summary: string | null;
      flags: string[] | null;
    }>;
    expect(
      rows.map(({ event_class, kind, summary, flags }) =>
        [event_class, kind, summary, ...(flags ?? [])].join(' | '),
      ),
    ).toEqual([
      'change | create | created (web:1, 2 replicas) | audit_id_reused',
      'change | update | image web: web:1 → web:2',
      'no_op |  | ',
      'change | scale | replicas: 2 → 5',
      'access |  | ',
      'access | exec | exec into web: sh',
      'change | update | updated (content not recorded) | content_not_recorded',
      'change | update | set image web=web:4 | before_unknown',
      'change | delete | deleted (web:4, 5 replicas)',
      'change | create | created (web:9, 1 replica)',
      'change | scale | replicas: 1 → 0',
      'change | create | created (other:1, 1 replica) | audit_id_reused',
    ]);
  });

  it('comes to the same ledger in whatever order and batches events arrive', async () => {
    const events = story();
    await receiver.post(eventList(events));
    const expected = await ledger('prod-a');
    let clusters = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(
          events.map((_, i) => i),
          { minLength: events.length },
        ),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: events.length, maxLength: events.length }),
        async (order, sizes) => {
          // A cluster of its own in the same ledger, which keeps what is of one apart from what is of another.
          const source = `shuffled-${clusters++}`;
          const authorization = `Bearer ${await addSource(receiver.database, source, source)}`;
          await receiver.ingest.webhook.registry.refresh();
          for (let at = 0, n = 0; at < order.length; at += sizes[n++]!) {
            const batch = order.slice(at, at + sizes[n]!).map((i) => events[i]!);
            expect(await receiver.post(eventList(batch), { authorization }, source)).toMatchObject({
              status: 200,
              body: { quarantined: 0 },
            });
          }
          expect(await ledger(source)).toEqual(expected);
        },
      ),
      { numRuns: 25 },
    );
  }, 120_000);
});
