-- Who was told of an alert is told of its end too, where what it is about ends: each is a delivery of its own.

alter table alert_deliveries
  add column notice text not null default 'raised' check (notice in ('raised', 'ended')),
  drop constraint alert_deliveries_pkey,
  add primary key (cluster_id, alert_id, receiver, notice);
alter table alert_attempts
  add column notice text not null default 'raised' check (notice in ('raised', 'ended')),
  drop constraint alert_attempts_pkey,
  add primary key (cluster_id, alert_id, receiver, notice, attempt);
