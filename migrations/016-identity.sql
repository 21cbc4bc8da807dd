-- Several grants of one person, and when a token was last used.

-- Every grant of the caller, as core/access/grants.ts has them; null in events of before.
alter table access_events add column grants jsonb;
create index access_events_status on access_events (status, seq) where status in (401, 403);

-- Within a minute.
alter table api_tokens add column last_used_at timestamptz;
