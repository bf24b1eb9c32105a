-- Secrets of an organisation, sealed; the keys they are sealed with, wrapped; credentials that were kept out of git.
set role bos_owner;
create table ops.vault_keys (
  org_id text not null references ops.orgs,
  version int not null check (version > 0),
  wrapped bytea not null,                  -- under the organisation's own key, which is wrapped under the server's
  created_at timestamptz not null,
  primary key (org_id, version)
);
create table ops.secrets (
  id text primary key,
  org_id text not null references ops.orgs,
  scope_kind text not null check (scope_kind in ('org', 'project', 'environment', 'repository')),
  scope_name text not null,
  name text not null,
  description text not null,
  state text not null check (state in ('active', 'disabled', 'deleted')),
  version int not null check (version > 0),
  fingerprint text not null,
  created_by text not null,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  last_used_at timestamptz
);
create unique index on ops.secrets (org_id, scope_kind, scope_name, name) where state <> 'deleted';
create index on ops.secrets (org_id, name);
create table ops.secret_versions (
  org_id text not null references ops.orgs,
  secret_id text not null references ops.secrets,
  version int not null check (version > 0),
  key_version int not null,
  wrapped_key bytea,                       -- the value's own key under the organisation's; null: destroyed
  sealed bytea,
  created_by text not null,
  created_at timestamptz not null,
  destroyed_at timestamptz,
  primary key (secret_id, version),
  check ((wrapped_key is null) = (sealed is null))
);
create index on ops.secret_versions (org_id, key_version) where sealed is not null;
create table ops.secret_findings (
  org_id text not null references ops.orgs,
  fingerprint text not null,
  repo_id text not null references ops.repositories,
  branch text not null,
  path text not null,
  line int not null,
  rule text not null,
  preview text not null,
  actor text not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  times int not null,
  allowed_by text,
  allowed_at timestamptz,
  allowed_until timestamptz,
  reason text,
  primary key (org_id, fingerprint)
);
create index on ops.secret_findings (org_id, last_at);
call ops.wall('vault_keys', 'secrets', 'secret_versions', 'secret_findings');
reset role;
