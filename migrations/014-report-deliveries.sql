-- Reports that are delivered on a schedule (WHOCHANGED_REPORTS_FILE): a row for each period of each delivery.
create table report_deliveries (
  name text not null,                  -- of the delivery, in the file
  since timestamptz not null,
  until timestamptz not null,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  delivered_at timestamptz,
  population_digest text,
  files jsonb,                         -- what was delivered: name, SHA-256, bytes
  last_error text,
  primary key (name, since)
);
