-- Of the changes that wait since one moment, such as all those that a new policy touches, the oldest are judged first. Without
-- their time in the index each batch sorted all that still waited.
create index current_verdicts_due_at on current_verdicts (cluster_id, due_at, at) where due_at is not null;
drop index current_verdicts_due;
alter index current_verdicts_due_at rename to current_verdicts_due;
