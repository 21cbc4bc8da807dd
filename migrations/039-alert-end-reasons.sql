-- Why an alert of a gap or a silent source is over: a source that is disabled is not heard again.
alter table alerts add column end_reason text check (end_reason in ('closed', 'heard', 'disabled'));
update alerts set end_reason = case subject when 'gap' then 'closed' else 'heard' end where ended_at is not null;
