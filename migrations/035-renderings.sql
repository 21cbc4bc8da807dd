-- What was never written goes; what programs made of a revision's files is kept instead, so that it isn't made again.
drop table rendered_manifests;
drop table renderings;
create table renderings (
  repo_id integer not null,
  tree text not null collate "C",          -- the revision's whole tree: what a folder renders to may depend on others
  path text not null collate "C",
  renderer text not null collate "C",      -- program, version, and a digest of what else it was told
  redacted_by text not null collate "C",   -- by what rules, key and version secrets were taken out
  rendered_at timestamptz not null default now(),
  encoding smallint not null,              -- as of bodies (store/body-encoding.ts)
  manifests bytea not null,                -- JSON, a list
  primary key (repo_id, tree, path, renderer, redacted_by)
);
create index renderings_age on renderings (repo_id, rendered_at);
