-- What a request that changes something asks for: the members of its body that name it (api/asked.ts); null in all others, and in
-- events of before.
alter table access_events add column asked jsonb;
