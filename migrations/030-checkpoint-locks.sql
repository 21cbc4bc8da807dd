-- Until when a checkpoint's copy is locked, as the store of the copies said when the copy was read back; null where it
-- isn't, or where nobody may know.
alter table log_checkpoints add column locked_until timestamptz;
