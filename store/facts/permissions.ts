import type { ClientBase } from 'pg';
import type { Review } from '../../core/approval/facts.js';

export type Permission = NonNullable<Review['permission']>;

/** Logins that reviewed without their permission being known yet, of the given pull requests. */
export async function findUnknownPermissions(
  client: ClientBase,
  repoID: number,
  numbers: readonly number[],
): Promise<string[]> {
  const { rows } = await client.query<{ login: string }>(
    `select distinct reviewer ->> 'login' as login from reviews
      where repo_id = $1 and number = any($2::integer[]) and permission is null and state <> 'commented'
        and reviewer ->> 'login' is not null`,
    [repoID, numbers],
  );
  return rows.map((row) => row.login);
}

/**
 * Notes what somebody was seen to be allowed: a new row where it changed, else only that it was seen again. Reviews
 * whose permission isn't known get the one that held when they were submitted, where it was seen before and after,
 * else this one with the time it was seen.
 */
export async function appendPermissions(
  client: ClientBase,
  repoID: number,
  seen: ReadonlyArray<{ login: string; permission: Permission }>,
  seenAt: Date,
): Promise<void> {
  if (seen.length === 0) return;
  await client.query(
    `with told as (
       select login, permission from unnest($2::text[], $3::text[]) as t (login, permission)),
     latest as (
       select t.login, t.permission, p.permission as before, p.seen_at
         from told t
         left join lateral (select permission, seen_at from permissions
                             where repo_id = $1 and login = t.login order by seen_at desc limit 1) p on true),
     again as (
       update permissions p set checked_at = $4 from latest l
        where p.repo_id = $1 and p.login = l.login and p.seen_at = l.seen_at and l.before = l.permission)
     insert into permissions (repo_id, login, permission, seen_at, checked_at)
     select $1, login, permission, $4, $4 from latest where before is distinct from permission
     on conflict (repo_id, login, seen_at) do update set permission = excluded.permission`,
    [repoID, seen.map((one) => one.login), seen.map((one) => one.permission), seenAt],
  );
  await client.query(
    `update reviews v set permission = p.permission, permission_seen_at = p.at
       from reviews r
       join lateral (
         (select permission, seen_at as at, 0 as rank from permissions
           where repo_id = $1 and login = r.reviewer ->> 'login'
             and seen_at <= r.submitted_at and checked_at >= r.submitted_at)
         union all
         (select permission, seen_at, 1 from permissions
           where repo_id = $1 and login = r.reviewer ->> 'login' and seen_at > r.submitted_at
           order by seen_at limit 1)
         union all
         (select permission, checked_at, 2 from permissions
           where repo_id = $1 and login = r.reviewer ->> 'login' and seen_at <= r.submitted_at
           order by seen_at desc limit 1)
         order by rank limit 1) p on true
      where v.repo_id = $1 and r.repo_id = $1 and r.permission is null and r.reviewer ->> 'login' = any($2::text[])
        and v.number = r.number and v.review_id = r.review_id`,
    [repoID, seen.map((one) => one.login)],
  );
}
