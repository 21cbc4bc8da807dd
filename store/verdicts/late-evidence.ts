import type { ClientBase } from 'pg';
import type { Sync } from '../../core/links/sync.js';
import { formatMicros } from '../../core/timestamp.js';
import { applicationKey } from './syncs.js';

/** Rows are committed a little after the time that stands in them. */
const COMMIT_DELAY_MS = 30_000;
/** A sync's changes lie within its time, and clocks differ a little. */
const SYNC_TOLERANCE = 2 * 1e6;

/**
 * Marks the changes whose links new records of syncs may tell: those of the application, within the sync's time. They
 * may be in any cluster.
 */
export async function markLinksDue(client: ClientBase, syncs: readonly Sync[], now: Date): Promise<number> {
  if (syncs.length === 0) return 0;
  const questions = syncs.flatMap((sync) => {
    const { namespace, name } = sync.application.key;
    const since = sync.startedAt - SYNC_TOLERANCE;
    // Flux notes a revision once and applies under it until the next.
    const until =
      sync.engine === 'argocd' && sync.finishedAt !== undefined
        ? sync.finishedAt + SYNC_TOLERANCE
        : now.getTime() * 1000;
    return [undefined, namespace].map((place) => ({
      application: applicationKey({ engine: sync.engine, namespace: place, name }),
      since,
      until,
    }));
  });
  const { rowCount } = await client.query(
    `update current_verdicts v set link_due = true
       from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as q (application, since, until)
      where v.cluster_id in (select id from clusters) and v.application = q.application and v.at >= q.since and v.at <= q.until
        and not v.link_due and (v.verdict is null or v.verdict in ('unknown', 'out-of-band') or not v.final)`,
    [
      questions.map(({ application }) => application),
      questions.map(({ since }) => formatMicros(since)),
      questions.map(({ until }) => formatMicros(until)),
    ],
  );
  return rowCount ?? 0;
}

/** Changes whose links are to be looked for again. */
export async function findLinksDue(
  client: ClientBase,
  clusterID: number,
  limit: number,
): Promise<Array<{ changeID: string; at: number }>> {
  const { rows } = await client.query<{ change_id: string; micros: string }>({
    name: 'links-due',
    text: `select change_id, (extract(epoch from at) * 1000000)::bigint as micros from current_verdicts
            where cluster_id = $1 and link_due order by at limit $2`,
    values: [clusterID, limit],
  });
  return rows.map((row) => ({ changeID: row.change_id, at: Number(row.micros) }));
}

/** The facts that verdicts rest on, each with the time by which it is known when it came. */
const FACTS: Array<[kind: string, shas: string]> = [
  ['commits', 'select sha from commits where indexed_at > $1 and indexed_at <= $2'],
  [
    'pull_requests',
    `select p.merge_sha as sha from pull_requests p where p.synced_at > $1 and p.synced_at <= $2 and p.merge_sha is not null
     union select c.sha from pull_requests p join pull_request_commits c using (repo_id, number)
      where p.synced_at > $1 and p.synced_at <= $2`,
  ],
  ['bypasses', 'select unnest(shas) as sha from bypasses where seen_at > $1 and seen_at <= $2'],
  [
    'approvals',
    `select subject as sha from imported_approvals
      where subject_kind = 'commit' and received_at > $1 and received_at <= $2`,
  ],
];

/**
 * Marks the verdicts that facts which came since the last time may touch. Facts of the last seconds wait for the next
 * time: their rows may not be committed yet. Call it within a transaction.
 * @returns how many were marked
 */
export async function markVerdictsDue(client: ClientBase, now: Date): Promise<number> {
  let marked = 0;
  for (const [kind, shas] of FACTS)
    marked += await sinceCursor(client, kind, now, (since, until) =>
      byCommits(client, since, until, now, shas),
    );
  marked += await sinceCursor(client, 'tickets', now, (since, until) => byTickets(client, since, until, now));
  return marked;
}

async function sinceCursor(
  client: ClientBase,
  kind: string,
  now: Date,
  mark: (since: string, until: Date) => Promise<number>,
): Promise<number> {
  const until = new Date(now.getTime() - COMMIT_DELAY_MS);
  const { rows } = await client.query<{ seen_at: string }>(
    'select seen_at from evidence_cursors where kind = $1',
    [kind],
  );
  const marked = await mark(rows[0]?.seen_at ?? '-infinity', until);
  await client.query(
    `insert into evidence_cursors as e (kind, seen_at) values ($1, $2)
     on conflict (kind) do update set seen_at = greatest(e.seen_at, excluded.seen_at)`,
    [kind, until],
  );
  return marked;
}

/** Verdicts that rest on any of these commits. */
async function byCommits(
  client: ClientBase,
  since: string,
  until: Date,
  now: Date,
  shas: string,
): Promise<number> {
  const { rowCount } = await client.query(
    `with touched as (select id from commit_ranges where shas && array(${shas}))
     update current_verdicts v set due_at = $3
      where v.cluster_id in (select id from clusters) and v.range_ids && array(select id from touched)
        and (v.due_at is null or v.due_at > $3)`,
    [since, until, now],
  );
  return rowCount ?? 0;
}

/** Verdicts in the time of a ticket, which it may cover, or whose emergency it tells the review of. */
async function byTickets(client: ClientBase, since: string, until: Date, now: Date): Promise<number> {
  const { rowCount } = await client.query(
    `with told as (
       select coalesce(window_start, seen_at - interval '7 days') as since, coalesce(window_end, 'infinity') as until
         from change_tickets where seen_at > $1 and seen_at <= $2)
     update current_verdicts v set due_at = $3
       from told, clusters k
      where v.cluster_id = k.id and v.at >= told.since and v.at < told.until
        and v.verdict in ('break-glass', 'out-of-band', 'approved', 'approved-after-the-fact', 'unapproved')
        and (v.due_at is null or v.due_at > $3)`,
    [since, until, now],
  );
  return rowCount ?? 0;
}
