-- Published prompts: a version, once it is there, never changes. Labels are names that move from version to version.
set role bos_owner;
create table ops.prompts (
  id text primary key,
  org_id text not null references ops.orgs,
  name text collate "C" not null,
  version text not null,
  rank text collate "C" not null,          -- orders versions as semantic versioning does
  stable boolean not null,                 -- no 1.0.0-rc.1
  sha256 text not null,                    -- of what the file says and of its partials
  content text not null,
  partials jsonb not null,                 -- word in the template → sha256 of the version that it stands for
  tags jsonb not null,
  changelog text not null,
  source jsonb not null,
  owner text not null,
  created_at timestamptz not null,
  unique (org_id, name, version)
);
create index on ops.prompts (org_id, name, rank desc);
create table ops.prompt_labels (
  org_id text not null references ops.orgs,
  name text collate "C" not null,
  label text collate "C" not null,
  version text not null,
  moved_by text not null,
  moved_at timestamptz not null,
  primary key (org_id, name, label),
  foreign key (org_id, name, version) references ops.prompts (org_id, name, version)
);
call ops.wall('prompts', 'prompt_labels');
call ops.append_only('prompts');
reset role;
