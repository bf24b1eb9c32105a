-- Data by name and version. A version is the hash over paths and hashes of its files, which are artifacts; it never changes.
set role bos_owner;
create table ops.datasets (
  id text primary key,
  org_id text not null references ops.orgs,
  name text collate "C" not null,
  version int not null check (version > 0),
  kind text not null check (kind in ('file', 'folder', 'table')),
  digest bytea not null check (length(digest) = 32),
  files jsonb not null,                    -- path, artifact_id, size, sha256 of each, by path
  size bigint not null check (size >= 0),
  columns jsonb,                           -- of a table, where its form says them
  rows bigint,
  description text not null,
  source jsonb not null,                   -- where it came from: upload, branch with commit, run, url
  repo_id text references ops.repositories,
  sandbox_id text references ops.sandboxes,
  created_by text not null,
  created_at timestamptz not null,
  unique (org_id, name, version),
  unique (org_id, name, digest)
);
create index on ops.datasets (org_id, id desc);
call ops.wall('datasets');
call ops.append_only('datasets');
reset role;
