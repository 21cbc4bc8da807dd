import type { Pool, PoolClient } from 'pg';
import Cursor from 'pg-cursor';
import { countingAlert, type Gathered } from '../../core/alerts/gather.js';
import type { AlertRule } from '../../core/alerts/rule.js';
import { ParsedValues } from '../../core/parsed-values.js';
import { RecentMap } from '../../core/recent.js';
import { parseMicros } from '../../core/timestamp.js';
import type { EventClass } from '../../core/vocabulary.js';
import { findUnread } from '../archive/find-reached.js';
import { BodyCache } from '../body-cache.js';
import { findMatches, type Match, type MatchingMeans, RECENTLY_SEEN } from './find-matches.js';
import { findGapMatches } from './states.js';
import { compiled, type SubjectRow, subjectStatement } from './subjects.js';

const BATCH = 500;
const BODY_CACHE_BYTES = 16 * 1024 * 1024;

/** An alert that would have been raised, by its first match. */
export interface TestedAlert {
  rule: string;
  severity: string;
  cluster: string;
  at: string;
  namespace: string | null;
  object: string | null;
  username: string | null;
  message: string;
  changeID: string | null;
  eventID: string | null;
}

export interface TestedRule {
  rule: string;
  matches: number;
  alerts: number;
  firstAt?: string;
  lastAt?: string;
  /** Why it could not be tested. */
  notTested?: string;
}

export type AlertTestLine =
  | { alert: TestedAlert }
  | { progress: { cluster: string; rows: number; at?: string } }
  | { summary: AlertTestSummary };

export interface AlertTestSummary {
  rows: number;
  rules: TestedRule[];
  /** Events of these classes that are older than this lie in the archive, and were not looked at. */
  archived?: { before: string; classes: EventClass[] };
}

interface Count {
  matches: number;
  firstAt: number;
  lastAt: number;
  alerts: Map<string, Gathered[]>;
}

/**
 * What rules would have alerted in a time, as they would have: equal matches as one. Postgres leaves out what can't match;
 * the rest is streamed. Nothing is written. The last line is a summary with every rule, and with what lies in the archive:
 * of a time before, events of every class may be more than a database holds.
 */
export async function* testAlerts(
  pool: Pick<Pool, 'connect' | 'query'>,
  clusters: ReadonlyArray<{ id: number; name: string }>,
  rules: readonly AlertRule[],
  span: { since: string; until: string },
): AsyncGenerator<AlertTestLine> {
  const counts = new Map<string, Count>();
  let rows = 0;
  for (const cluster of clusters) {
    for (const subject of ['event', 'change', 'verdict'] as const) {
      const own = rules.filter(({ on }) => on === subject);
      if (own.length === 0) continue;
      const means: MatchingMeans = {
        bodyCache: new BodyCache(new ParsedValues(BODY_CACHE_BYTES)),
        seen: new RecentMap(RECENTLY_SEEN),
      };
      const statement = compiled(subjectStatement(subject, cluster.id, own, span));
      for await (const { batch, client } of batches(pool, statement)) {
        rows += batch.length;
        const matches = await findMatches(client, cluster.id, batch, own, means);
        for (const alert of count(matches, counts, cluster.name)) yield { alert };
        yield { progress: { cluster: cluster.name, rows, at: batch.at(-1)!.at } };
      }
    }
    const gaps = await withClient(pool, (client) =>
      findGapMatches(
        client,
        cluster.id,
        rules.filter(({ on }) => on === 'gap'),
        { ...span, all: true },
      ),
    );
    for (const alert of count(gaps, counts, cluster.name)) yield { alert };
  }
  const reach = { clusterIDs: clusters.map(({ id }) => id), ...span, classes: undefined };
  const archived = await findUnread(pool, reach);
  const tested = rules.map((rule) => summaryOf(rule, counts.get(rule.name)));
  yield { summary: { rows, rules: tested, ...(archived && { archived }) } };
}

/** Rows through a cursor on one connection, with another for what is asked meanwhile. */
async function* batches(
  pool: Pick<Pool, 'connect'>,
  { text, values }: { text: string; values: unknown[] },
): AsyncGenerator<{ batch: SubjectRow[]; client: PoolClient }> {
  const reader = await pool.connect();
  const cursor = reader.query(new Cursor<SubjectRow>(text, values));
  try {
    for (;;) {
      const batch = await cursor.read(BATCH);
      if (batch.length === 0) return;
      const client = await pool.connect();
      try {
        yield { batch, client };
      } finally {
        client.release();
      }
    }
  } finally {
    await cursor.close().catch(() => undefined);
    reader.release();
  }
}

async function withClient<T>(
  pool: Pick<Pool, 'connect'>,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  try {
    return await work(client);
  } finally {
    client.release();
  }
}

/** Counts matches, and gives those that would have raised an alert. */
function count(matches: readonly Match[], counts: Map<string, Count>, cluster: string): TestedAlert[] {
  return matches.flatMap((match) => {
    const at = parseMicros(match.at)!;
    const { rule } = match;
    const counted = counts.get(rule.name) ?? { matches: 0, firstAt: at, lastAt: at, alerts: new Map() };
    counts.set(rule.name, counted);
    counted.matches++;
    counted.firstAt = Math.min(counted.firstAt, at);
    counted.lastAt = Math.max(counted.lastAt, at);
    const key = `${cluster} ${match.key}`;
    const alerts = counted.alerts.get(key) ?? [];
    counted.alerts.set(key, alerts);
    if (countingAlert(alerts, at)) return [];
    alerts.unshift({ firstAt: at, countsUntil: at + rule.windowSeconds * 1e6 });
    const { namespace, object, username, message, changeID, eventID } = match;
    const told = { rule: rule.name, severity: rule.severity, cluster, at: match.at };
    return [{ ...told, namespace, object, username, message, changeID, eventID }];
  });
}

function summaryOf(rule: AlertRule, counted: Count | undefined): TestedRule {
  if (rule.on === 'source')
    return {
      rule: rule.name,
      matches: 0,
      alerts: 0,
      notTested:
        'of a source only the last time is kept at which something came; gaps tell of silence in the past',
    };
  if (!counted) return { rule: rule.name, matches: 0, alerts: 0 };
  const alerts = [...counted.alerts.values()].reduce((sum, list) => sum + list.length, 0);
  const iso = (micros: number) => new Date(micros / 1000).toISOString();
  return {
    rule: rule.name,
    matches: counted.matches,
    alerts,
    firstAt: iso(counted.firstAt),
    lastAt: iso(counted.lastAt),
  };
}
