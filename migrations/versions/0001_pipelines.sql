-- Published pipelines: a version, once it is there, never changes.
set role bos_owner;
create table ops.pipelines (
  id text primary key,
  org_id text not null references ops.orgs,
  name text collate "C" not null,
  version text not null,
  rank text collate "C" not null,          -- orders versions as semantic versioning does
  digest text not null,                    -- sha256 of what the file says
  content text not null,
  summary jsonb not null,
  source jsonb not null,
  published_by text not null,
  created_at timestamptz not null,
  unique (org_id, name, version)
);
create index on ops.pipelines (org_id, name, rank desc);
call ops.wall('pipelines');
call ops.append_only('pipelines');
reset role;
