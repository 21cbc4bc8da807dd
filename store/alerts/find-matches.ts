import type { ClientBase } from 'pg';
import type { Matchable } from '../../core/alerts/matchable.js';
import { type AlertRule, describeMatch, keyOfMatch } from '../../core/alerts/rule.js';
import type { RecentMap } from '../../core/recent.js';
import { parseMicros } from '../../core/timestamp.js';
import type { BodyCache } from '../body-cache.js';
import { readSubjects, type SubjectRow } from './subjects.js';

/** Something that a rule matches. */
export interface Match {
  rule: AlertRule;
  /** What equal matches have in common. */
  key: string;
  message: string;
  /** When what matches happened, RFC 3339. */
  at: string;
  /** null: a matter of the whole cluster. */
  namespace: string | null;
  object: string | null;
  username: string | null;
  changeID: string | null;
  eventID: string | null;
  gapID: string | null;
  sourceID: number | null;
}

/** What is remembered from batch to batch. */
export interface MatchingMeans {
  bodyCache: BodyCache;
  /** When whom was last seen to do what where: spares looking through history. */
  seen: RecentMap<string, number>;
}

/** What `seen` holds of those that were seen last: what is forgotten is looked up. */
export const RECENTLY_SEEN = 10_000;

/** What these rules match among rows of events, changes or verdicts, in the rows' order. */
export async function findMatches(
  client: ClientBase,
  clusterID: number,
  rows: readonly SubjectRow[],
  rules: readonly AlertRule[],
  means: MatchingMeans,
): Promise<Match[]> {
  if (rows.length === 0) return [];
  const subjects = await readSubjects(client, clusterID, rows, rules, means.bodyCache);
  const matches: Match[] = [];
  for (const rule of rules) {
    let found = rows.flatMap((row, i) =>
      rule.matches(subjects[i]!) ? [{ row, subject: subjects[i]! }] : [],
    );
    if (rule.newActorSeconds !== undefined)
      found = await ofNewActors(client, clusterID, found, rule.newActorSeconds, means.seen);
    for (const { row, subject } of found) matches.push(matchOf(rule, row, subject));
  }
  return matches;
}

function matchOf(rule: AlertRule, row: SubjectRow, subject: Matchable): Match {
  const ref = subject.event.objectRef as Record<string, string> | undefined;
  const type = [ref?.apiGroup, ref?.resource].filter(Boolean).join('/');
  const object = [type, [ref?.namespace, ref?.name].filter(Boolean).join('/')].filter(Boolean).join(' ');
  return {
    rule,
    key: keyOfMatch(rule, subject),
    message: describeMatch(rule, subject),
    at: row.at,
    namespace: ref?.namespace ?? null,
    object: object || null,
    username: row.username,
    changeID: row.change_id,
    eventID: row.event_id,
    gapID: null,
    sourceID: row.source_id,
  };
}

/** Leaves only those whose user had made no request of that class in that namespace within the time before. */
async function ofNewActors<T extends { row: SubjectRow }>(
  client: ClientBase,
  clusterID: number,
  found: readonly T[],
  withinSeconds: number,
  seen: RecentMap<string, number>,
): Promise<T[]> {
  const within = withinSeconds * 1e6;
  const asked = found.map((item) => {
    const { row } = item;
    const key = [clusterID, row.user_id, row.class, row.namespace ?? ''].join(' ');
    return { item, key, at: parseMicros(row.at)! };
  });
  const unknown = asked.filter(({ key, at }) => {
    const last = seen.get(key);
    return last === undefined || last >= at || last < at - within;
  });
  const { rows } = await client.query<{ n: number }>({
    name: 'alerts-seen-before',
    text: `select q.n::int from unnest($2::bigint[], $3::text[], $4::event_class[], $5::timestamptz[]) with ordinality
                    as q (user_id, namespace, class, at, n)
           cross join lateral (
             select from events e left join objects o on o.cluster_id = e.cluster_id and o.id = e.object_id
              where e.cluster_id = $1 and e.user_id = q.user_id and e.class = q.class and e.class <> 'stage'
                and e.at >= q.at - $6 * interval '1 second' and e.at < q.at and coalesce(o.namespace, '') = q.namespace
              limit 1) earlier`,
    values: [
      clusterID,
      unknown.map(({ item }) => item.row.user_id),
      unknown.map(({ item }) => item.row.namespace ?? ''),
      unknown.map(({ item }) => item.row.class),
      unknown.map(({ item }) => item.row.at),
      withinSeconds,
    ],
  });
  const before = new Set(rows.map(({ n }) => unknown[n - 1]!.item));
  for (const { key, at } of asked) seen.set(key, Math.max(at, seen.get(key) ?? 0));
  return unknown.filter(({ item }) => !before.has(item)).map(({ item }) => item);
}
