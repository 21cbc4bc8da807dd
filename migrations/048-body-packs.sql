-- Bodies that were stored together, deflated as one: a body repeats little within itself and nearly all of its neighbours.
create table body_packs (
  cluster_id integer not null,
  pack_id bigint not null,
  encoding smallint not null,          -- as of bodies (store/body-encoding.ts)
  content bytea not null,              -- of its bodies, one after another
  primary key (cluster_id, pack_id)
);
alter table body_packs alter column content set storage external;
alter table body_packs enable row level security;
create policy tenant on body_packs for select to whochanged_tenant using (
  exists (select from clusters c where c.id = cluster_id));
grant select on body_packs to whochanged_tenant;

-- A body has its content in its row, or from an offset on in a pack's. Bodies of before are not looked at: they have it in theirs.
alter table bodies
  alter column content drop not null,
  add column pack_id bigint,
  add column pack_offset integer,
  add constraint bodies_one_place check ((content is null) = (pack_id is not null) and (pack_id is null) = (pack_offset is null)) not valid;
-- Who takes a body out of its pack asks for the others.
create index bodies_pack on bodies (cluster_id, pack_id) where pack_id is not null;
