-- Where a change came from (source IPs) is told in every list, and stood in its event alone: another page of the ledger's
-- largest table for each row. A change refers to its event's context now. Null in rows from before: their event is asked.
alter table changes add column context_id bigint;
