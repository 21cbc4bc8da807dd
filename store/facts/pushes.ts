import type { ClientBase } from 'pg';
import type { Person } from '../../core/approval/facts.js';
import { micros, personRow, timeRow } from './person.js';

/** A push to a branch, as the host told it. Times in microseconds. */
export interface Push {
  id: string;
  /** Whole, such as refs/heads/main. */
  ref: string;
  before: string;
  after: string;
  pusher: Person;
  pushedAt: number;
}

/** A push or merge that a rule would have stopped. */
export interface Bypass {
  id: string;
  actor: Person;
  at: number;
  rule: string;
  ref: string;
  before?: string;
  after: string;
  /** Every commit that it brought, as far as the host lists them. */
  shas: string[];
  number?: number;
}

export async function appendPushes(
  client: Pick<ClientBase, 'query'>,
  repoID: number,
  pushes: readonly Push[],
): Promise<void> {
  if (pushes.length === 0) return;
  const rows = pushes.map((push) => ({
    push_id: push.id,
    ref: push.ref,
    before_sha: push.before,
    after_sha: push.after,
    pusher: personRow(push.pusher),
    pushed_at: timeRow(push.pushedAt),
  }));
  await client.query(
    `insert into pushes (repo_id, push_id, ref, before_sha, after_sha, pusher, pushed_at)
     select $1, push_id, ref, before_sha, after_sha, pusher, pushed_at
       from jsonb_to_recordset($2::jsonb) as r (push_id text, ref text, before_sha text, after_sha text, pusher jsonb,
            pushed_at timestamptz)
     on conflict (repo_id, push_id) do nothing`,
    [repoID, JSON.stringify(rows)],
  );
}

/** Who pushed a commit as a branch's new head; the last who did, undefined where no host told. */
export async function findPusher(
  client: ClientBase,
  repoID: number,
  ref: string,
  sha: string,
): Promise<{ pusher: Person; pushedAt: number } | undefined> {
  const { rows } = await client.query<{ pusher: Person; pushed_at: string }>(
    `select pusher, pushed_at from pushes where repo_id = $1 and after_sha = $3 and ref = $2
      order by pushed_at desc limit 1`,
    [repoID, ref, sha],
  );
  const row = rows[0];
  return row && { pusher: row.pusher, pushedAt: micros(row.pushed_at) };
}

/** The ids among these that are not stored yet. */
export async function findNewBypasses(
  client: ClientBase,
  repoID: number,
  ids: readonly string[],
): Promise<Set<string>> {
  const { rows } = await client.query<{ id: string }>(
    `select id from unnest($2::text[]) as t (id)
      where not exists (select from bypasses b where b.repo_id = $1 and b.bypass_id = t.id)`,
    [repoID, ids],
  );
  return new Set(rows.map((row) => row.id));
}

export async function appendBypasses(
  client: ClientBase,
  repoID: number,
  bypasses: readonly Bypass[],
): Promise<void> {
  if (bypasses.length === 0) return;
  const rows = bypasses.map((bypass) => ({
    bypass_id: bypass.id,
    actor: personRow(bypass.actor),
    bypassed_at: timeRow(bypass.at),
    rule: bypass.rule,
    ref: bypass.ref,
    before_sha: bypass.before ?? null,
    after_sha: bypass.after,
    shas: bypass.shas,
    number: bypass.number ?? null,
  }));
  await client.query(
    `insert into bypasses (repo_id, bypass_id, actor, bypassed_at, rule, ref, before_sha, after_sha, shas, number)
     select $1, bypass_id, actor, bypassed_at, rule, ref, before_sha, after_sha,
            array(select jsonb_array_elements_text(shas)), number
       from jsonb_to_recordset($2::jsonb) as r (bypass_id text, actor jsonb, bypassed_at timestamptz, rule text,
            ref text, before_sha text, after_sha text, shas jsonb, number integer)
     on conflict (repo_id, bypass_id) do nothing`,
    [repoID, JSON.stringify(rows)],
  );
}
