import { createReadStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createGunzip } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { acceptItem } from '../../core/accept.js';
import { attributeJob } from '../../jobs/attribute.js';
import { type ActionTime, readActions } from '../e2e/session/actions.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';
import { RecordedCluster, redaction } from './recorded-cluster.js';

const path = (name: string) => fileURLToPath(new URL(`../fixtures/session/${name}`, import.meta.url));
const session = readActions(path('actions.yaml'));
const times = JSON.parse(readFileSync(path('recording-times.json'), 'utf8')) as ActionTime[];
const windows = new Map(times.map((time) => [time.id, time]));

/** How long after an action its consequences are looked for; a cron job's come with the minute. */
const FOLLOWS_MS = 130_000;

interface Row {
  at: string;
  object: string;
  kind: string;
  actor: string;
  state: string;
  rule: string;
  reason: string | null;
  root: string | null;
  trigger_at: string | null;
  trigger_user: string | null;
  trigger_class: string | null;
}

const OBJECT = (alias: string) =>
  `case when ${alias}.api_group = '' then '' else ${alias}.api_group || '/' end || ${alias}.resource || ' '
   || case when ${alias}.namespace = '' then '' else ${alias}.namespace || '/' end || ${alias}.name`;

let database: TestDatabase;
let rows: Row[];

/** A real apiserver's log of some minutes, with kube-controller-manager at work, in posts of 400 events. */
beforeAll(async () => {
  database = await createTestDatabase();
  database.pool.on('error', () => undefined);
  const cluster = await RecordedCluster.create(database);
  const lines: Buffer[] = [];
  const input = createReadStream(path('recording.ndjson.gz')).pipe(createGunzip());
  for await (const line of createInterface({ input })) lines.push(Buffer.from(line));
  const job = attributeJob();
  for (let i = 0; i < lines.length; i += 400) {
    const accepted = lines.slice(i, i + 400).flatMap((line) => {
      const acceptance = acceptItem(line, 'audit.k8s.io/v1', redaction);
      return acceptance.ok ? [acceptance.accepted] : [];
    });
    const { sourceID, clusterID } = cluster;
    await cluster.ledger.append([
      { sourceID, clusterID, receivedAt: Date.now() * 1000, accepted, rejections: [] },
    ]);
    // Between posts, as it happens: what comes with the next post is late evidence.
    if (i % 2000 === 0) await attribute(job);
  }
  await attribute(job);
  ({ rows } = await database.pool.query<Row>(
    `select c.at, ${OBJECT('c')} as object, c.kind, u.username as actor, a.state, a.rule, a.reason, ${OBJECT('r')} as root,
            t.at as trigger_at, tu.username as trigger_user, t.class as trigger_class
       from attributions a
       join changes c using (cluster_id, change_id)
       join users u on u.cluster_id = c.cluster_id and u.id = c.user_id
       left join objects r on r.cluster_id = a.cluster_id and r.id = a.root_object_id
       left join changes t on t.cluster_id = a.cluster_id and t.change_id = a.trigger_change_id
       left join users tu on tu.cluster_id = t.cluster_id and tu.id = t.user_id
      order by c.at`,
  ));
});

afterAll(async () => {
  await database.drop();
});

async function attribute(job: ReturnType<typeof attributeJob>): Promise<void> {
  const client = await database.pool.connect();
  const silent = () => undefined;
  try {
    await job.runOnce({
      client,
      now: () => new Date(),
      log: {
        info: silent,
        warn: silent,
        error: (fields) => {
          throw new Error(JSON.stringify(fields));
        },
      },
      signal: new AbortController().signal,
    });
  } finally {
    client.release();
  }
}

function matches(pattern: string, object: string): boolean {
  return pattern.endsWith('*') ? object.startsWith(pattern.slice(0, -1)) : object === pattern;
}

describe('the recorded session', () => {
  const expected = session.actions.flatMap((action) =>
    (action.derived ?? []).map((derived) => ({ action, derived })),
  );

  it.each(
    expected.map(
      ({ action, derived }) => [action.id, `${derived.kind} ${derived.object}`, action, derived] as const,
    ),
  )('%s sets off: %s', (_id, _what, action, derived) => {
    const { started_at } = windows.get(action.id)!;
    const since = Date.parse(started_at);
    const candidates = rows.filter(
      (row) =>
        Date.parse(row.at) >= since &&
        Date.parse(row.at) <= since + FOLLOWS_MS &&
        matches(derived.object, row.object) &&
        (derived.kind === undefined || row.kind === derived.kind) &&
        row.actor === derived.actor,
    );
    const found = candidates.filter((row) => {
      if (row.state !== 'resolved' || (derived.root !== undefined && row.root !== derived.root)) return false;
      if (derived.trigger === undefined) return row.trigger_class !== 'change';
      const cause = session.actions.find((other) => other.id === derived.trigger)!;
      const window = windows.get(cause.id)!;
      return (
        row.trigger_user === session.users[cause.as] &&
        row.trigger_at !== null &&
        Date.parse(row.trigger_at) >= Date.parse(window.started_at) &&
        Date.parse(row.trigger_at) <= Date.parse(window.finished_at)
      );
    });
    expect(found.length, JSON.stringify(candidates, null, 1)).toBeGreaterThan(0);
  });

  it('leaves nothing unresolved in a history that is whole', () => {
    expect(rows.filter((row) => row.state !== 'resolved')).toEqual([]);
    expect(rows.length).toBeGreaterThan(300);
  });
});
