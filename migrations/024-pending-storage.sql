-- Digests can't be compressed: trying to costs ingest.
alter table log_pending alter column records set storage external;
