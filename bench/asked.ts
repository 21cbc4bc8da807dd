import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';

/** Below the API's rate limit. */
const PAUSE_MS = 50;
/** Connections are opened, and Postgres keeps a statement's plan after it was run five times. */
const WARM_UP = 8;

const pick = (list: string[], i: number) => list[i % list.length]!;
export const before = (time: string, minutes: number) =>
  new Date(Date.parse(time) - minutes * 60_000).toISOString();

/** What users ask of a filled ledger, by what it is called: the i-th sample's path, each at another place. */
export async function questionsOf(pool: Pool): Promise<Record<string, (i: number) => string>> {
  /** Values that exist, for samples to ask for. */
  const some = async (query: string): Promise<string[]> => {
    const { rows } = await pool.query({ text: query, rowMode: 'array' });
    return rows.flat().map(String);
  };
  const times = await some(
    `select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') from changes tablesample system (1) order by random() limit 200`,
  );
  const deployments = await some(
    `select namespace from objects where resource = 'deployments' and name = 'web'`,
  );
  const ids = await some('select change_id from changes tablesample system (1) order by random() limit 200');
  const withStates = await some(
    'select change_id from changes tablesample system (1) where after_digest is not null order by random() limit 200',
  );
  const eventIDs = await some(
    `select (extract(epoch from at) * 1000000)::bigint || '-' || encode(digest, 'hex') || '-' || source_id from event_rows tablesample system (0.2) order by random() limit 200`,
  );
  const auditIDs = await some(
    'select id_text(audit_id) as audit_id from event_rows tablesample system (0.2) order by random() limit 200',
  );
  // What was filled in reaches into the future: it is asked as if now were when it ends.
  const [end] = await some(
    `select to_char(at at time zone 'UTC' + interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') from changes order by at desc limit 1`,
  );
  const web = (i: number) => `/v1/objects/default/apps/deployments/${pick(deployments, i)}/web`;
  return {
    'the newest changes': () => `/v1/changes?until=${end}`,
    '30 minutes': (i) => `/v1/changes?since=${before(pick(times, i), 30)}&until=${pick(times, i)}`,
    '30 minutes of a namespace': (i) =>
      `/v1/changes?namespace=${pick(deployments, i)}&since=${before(pick(times, i), 30)}&until=${pick(times, i)}`,
    'a namespace': (i) => `/v1/changes?namespace=${pick(deployments, i)}&until=${end}`,
    'a Deployment': (i) =>
      `/v1/changes?resource=deploy&name=web&namespace=${pick(deployments, i)}&until=${end}`,
    'names by prefix': (i) => `/v1/changes?name=web*&until=${pick(times, i)}`,
    'a label': (i) => `/v1/changes?label=app%3Dweb&until=${pick(times, i)}`,
    'an actor': (i) => `/v1/changes?actor=alice@example.com&until=${pick(times, i)}`,
    'actors by pattern': (i) =>
      `/v1/changes?actor=${encodeURIComponent('system:serviceaccount:ci:*')}&until=${pick(times, i)}`,
    'a tool': (i) => `/v1/changes?tool=session-script&until=${pick(times, i)}`,
    'a verb': (i) => `/v1/changes?verb=deletecollection&until=${pick(times, i)}`,
    'rights granted': (i) => `/v1/changes?kind=rbac_grant&until=${pick(times, i)}`,
    'images of any container': (i) =>
      `/v1/changes?field=${encodeURIComponent('spec.template.spec.containers[*].image')}&until=${pick(times, i)}`,
    'an image field of a namespace': (i) =>
      `/v1/changes?field=${encodeURIComponent('spec.template.spec.containers[web].image')}&namespace=${pick(deployments, i)}&until=${end}`,
    'everything, 30 minutes': (i) =>
      `/v1/changes?all=true&since=${before(pick(times, i), 30)}&until=${pick(times, i)}`,
    'rejected requests': (i) => `/v1/changes?class=rejected&until=${pick(times, i)}`,
    'density of a week': (i) =>
      `/v1/changes/density?since=${before(pick(times, i), 10_080)}&until=${pick(times, i)}`,
    'density of a namespace, 30 days': (i) =>
      `/v1/changes/density?namespace=${pick(deployments, i)}&since=${before(pick(times, i), 43_200)}&until=${pick(times, i)}`,
    'density of everything': () =>
      `/v1/changes/density?since=${before([...times].sort()[0]!, 1440)}&until=${[...times].sort().at(-1)}`,
    'one change': (i) => `/v1/changes/${pick(ids, i)}`,
    'its state after': (i) => `/v1/changes/${pick(withStates, i)}/after`,
    history: (i) => `${web(i)}/history`,
    'state at a time': (i) => `${web(i)}/state?at=${pick(times, i)}`,
    'two times compared': (i) => `${web(i)}/compare?from=${before(pick(times, i), 60)}&to=${pick(times, i)}`,
    rollback: (i) => `${web(i)}/rollback?to=${before(pick(times, i), 60)}`,
    'activity of an actor, a day': (i) =>
      `/v1/actors/bob@example.com/activity?since=${before(pick(times, i), 1440)}&until=${pick(times, i)}`,
    'interactive access': (i) => `/v1/access?until=${pick(times, i)}`,
    'reads of Secrets': (i) => `/v1/secret-reads?until=${pick(times, i)}`,
    'events of a request': (i) => `/v1/events?auditID=${pick(auditIDs, i)}`,
    'one raw event': (i) => `/v1/events/${pick(eventIDs, i)}`,
    quarantine: () => '/v1/quarantine',
    sources: () => '/v1/sources',
  };
}

export interface Asked {
  p50: number;
  p99: number;
  max: number;
  /** The most that an answer held. */
  rows: number;
}

/** Asks one question so often, one sample after the other. Milliseconds; the first few, which open connections, don't count. */
export async function ask(
  server: { http: string },
  folder: string,
  path: (i: number) => string,
  samples: number,
): Promise<Asked> {
  const admin = (await readFile(join(folder, 'admin-token'), 'utf8')).trim();
  let rows = 0;
  const took = await timesOf(
    samples,
    async (i) => {
      const answer = await fetch(server.http + path(i), { headers: { authorization: `Bearer ${admin}` } });
      const text = await answer.text();
      // An object may not have been there yet at the time asked for; all else was taken from the ledger.
      if (!answer.ok && !(answer.status === 404 && path(i).startsWith('/v1/objects/')))
        throw new Error(`${path(i)}: ${text}`);
      return () => {
        rows = Math.max(rows, (JSON.parse(text) as { items?: unknown[] }).items?.length ?? 1);
      };
    },
    WARM_UP,
  );
  return { ...percentiles(took), rows };
}

/** Milliseconds of each call, one after the other; what it returns is done outside of that. The first few don't count. */
export async function timesOf(
  samples: number,
  call: (i: number) => Promise<(() => void) | undefined>,
  warmUp = 0,
): Promise<number[]> {
  const took: number[] = [];
  for (let i = -warmUp; i < samples; i++) {
    const started = performance.now();
    const rest = await call(Math.max(0, i));
    if (i >= 0) took.push(performance.now() - started);
    rest?.();
    await sleep(PAUSE_MS);
  }
  return took;
}

export function percentiles(took: number[]): { p50: number; p99: number; max: number } {
  const sorted = took.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1)! };
}
