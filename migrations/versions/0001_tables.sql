set role bos_owner;

create table ops.orgs (
  id text primary key,
  org_id text not null generated always as (id) stored,
  slug text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name text not null,
  anonymous boolean not null default true,
  created_at timestamptz not null,
  closing_by text,                         -- the member who had it closed; it can be opened again until erase_at
  closing_at timestamptz,
  erase_at timestamptz,
  erased_at timestamptz,                   -- nothing of it is left but this row, its ledger and what proves that
  check ((closing_at is null) = (erase_at is null))
);

create table ops.repositories (
  id text primary key,
  org_id text not null references ops.orgs,
  owner text not null,
  name text not null,
  host text not null default 'local',
  source text,
  upstream_branch text,
  base_branch text not null,
  reserved_names text[] not null default '{}',
  created_at timestamptz not null,
  deleted_at timestamptz
);
create unique index on ops.repositories (org_id, owner, name) where deleted_at is null;
create index on ops.repositories (org_id, name);

create table ops.branches (
  id text primary key,
  org_id text not null,                    -- the repository's; the wall lets nobody write another one
  repo_id text not null references ops.repositories,
  name text not null,
  kind text not null check (kind in ('main', 'base', 'sandbox', 'backup', 'dev')),
  store text not null,                     -- repository folder of this branch, relative to the repository root
  tip text not null,
  base_sha text not null,                  -- the commit of main or base that it stands on
  commits int not null default 0,          -- own commits since it was created
  files int not null default 0,            -- files that differ from base_sha
  pending int not null default 0,          -- changelog entries of pushes not yet in the delivery file
  state text not null default 'active' check (state in ('active', 'archived', 'deleted')),
  created_at timestamptz not null,
  moved_at timestamptz not null
);
create index on ops.branches (org_id, id);
create index on ops.branches (repo_id, kind, id);
-- The last one: among indexes that look equally cheap, as in a young table, the planner takes the newest.
create unique index branches_repo_id_name_key on ops.branches (repo_id, name);

create table ops.sandboxes (
  id text primary key,
  org_id text not null,                    -- the branch's, likewise
  repo_id text not null,                   -- the branch's
  branch_id text not null references ops.branches,
  name text not null,
  state text not null default 'active' check (state in ('active', 'idle', 'expired', 'archived', 'deleted')),
  profile text not null,
  created_by text not null,
  created_at timestamptz not null,
  last_active_at timestamptz not null,
  expires_at timestamptz,
  archived_at timestamptz,
  deleted_at timestamptz
);
create index on ops.sandboxes (org_id, id);
create index on ops.sandboxes (repo_id, id);
create index on ops.sandboxes (branch_id);
create index on ops.sandboxes (org_id, expires_at) where state in ('active', 'idle', 'expired');

create table ops.credentials (
  id text primary key,
  org_id text not null,                    -- the wall lets nobody write another one
  kind text not null check (kind in ('reuse_token', 'owner', 'api_key', 'share')),
  hash bytea not null unique,
  actor_id text not null,
  actor_name text not null,
  profile text not null,
  scopes text[] not null default '{}',
  repo_id text references ops.repositories,
  sandbox_id text references ops.sandboxes,
  label text not null default '',
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz
);
create index on ops.credentials (org_id, id);
create index on ops.credentials (sandbox_id);

create table ops.git_journal (
  id bigint generated always as identity primary key,
  org_id text not null,                    -- the branch's; the wall lets nobody write another one
  branch_id text not null references ops.branches,
  old text not null,
  new text not null,
  objects bytea not null,
  at timestamptz not null default clock_timestamp()
);
alter table ops.git_journal alter column objects set storage external;  -- already compressed
create index on ops.git_journal (branch_id, id);
create index on ops.git_journal (org_id, id);

create table ops.pending_delivery (
  id bigint generated always as identity primary key,
  org_id text not null references ops.orgs,
  branch_id text not null references ops.branches,
  commit_sha text not null,
  entry jsonb not null,
  memory jsonb not null
);
create index on ops.pending_delivery (branch_id, id);
create index on ops.pending_delivery (org_id, id);

create table ops.idempotency (
  org_id text not null references ops.orgs,
  scope text not null,
  key text not null,
  request_hash bytea not null,
  status int not null,
  reply bytea not null,                    -- encrypted: the reply of an init holds a token
  expires_at timestamptz not null,
  primary key (org_id, scope, key)
);
create index on ops.idempotency (expires_at);

create table ops.approvals (
  id text primary key,
  org_id text not null references ops.orgs,
  run_id text,
  step_id text,
  action text not null,
  object text not null,
  diff text not null,
  diff_stat jsonb not null,
  diff_hash text not null,
  reason text not null,
  risk text not null check (risk in ('low', 'medium', 'high')),
  risk_reasons jsonb not null default '[]',
  requested_by text not null,
  requested_member text,                   -- the member on whose behalf: that one may not approve
  prompt_version text,
  required jsonb not null,
  decisions jsonb not null default '[]',
  state text not null default 'pending' check (state in ('pending', 'approved', 'denied', 'expired', 'cancelled')),
  self_approved boolean not null default false,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index on ops.approvals (org_id, id);
create index on ops.approvals (org_id, object);

create table ops.pulls (
  id text primary key,
  org_id text not null references ops.orgs,
  repo_id text not null references ops.repositories,
  source_branch_id text not null references ops.branches,
  target_branch_id text not null references ops.branches,
  title text not null,
  mode text not null check (mode in ('pr', 'release')),
  version text,
  state text not null default 'open' check (state in ('open', 'merged', 'closed')),
  head_sha text not null,
  base_sha text not null,
  diff_hash text not null,
  diff_stat jsonb not null,
  checks jsonb not null,
  comments jsonb not null default '[]',
  approval_id text references ops.approvals,
  merge_sha text,
  tag text,
  created_by text not null,
  created_at timestamptz not null,
  merged_at timestamptz
);
create index on ops.pulls (org_id, id);
create index on ops.pulls (repo_id, id);
create index on ops.pulls (source_branch_id);

create table ops.backups (
  id text primary key,
  org_id text not null references ops.orgs,
  repo_id text not null references ops.repositories,
  branch_id text not null references ops.branches,
  kind text not null check (kind in ('manual', 'daily', 'weekly', 'automatic')),
  scope text not null check (scope in ('key_files', 'branch')),
  ref text not null,
  commit_sha text not null,
  files jsonb not null,
  sha256 text not null,
  created_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz
);
create index on ops.backups (org_id, id);
create index on ops.backups (branch_id, id);
create unique index on ops.backups (repo_id, ref) where kind = 'daily';

create table ops.shares (
  id text primary key,
  org_id text not null references ops.orgs,
  sandbox_id text not null references ops.sandboxes,
  credential_id text not null references ops.credentials,
  created_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz
);
create index on ops.shares (org_id, id);
create index on ops.shares (sandbox_id);

create table ops.alerts (
  id text primary key,
  org_id text not null references ops.orgs,
  rule text not null,
  severity text not null check (severity in ('info', 'warning', 'critical')),
  object text not null,
  state text not null default 'open' check (state in ('open', 'acked', 'resolved')),
  count int not null default 1,
  detail jsonb not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  acked_by text
);
create index on ops.alerts (org_id, id);
create unique index on ops.alerts (org_id, rule, object) where state <> 'resolved';

create table ops.outbox (
  id bigint generated always as identity primary key,
  org_id text not null references ops.orgs,
  kind text not null,
  key text not null,
  payload jsonb not null,
  created_at timestamptz not null,
  next_at timestamptz not null,
  done_at timestamptz,
  attempts int not null default 0,
  last_error text,
  unique (org_id, kind, key)
);
create index on ops.outbox (org_id, next_at) where done_at is null;

do $$
declare t text;
begin
  for t in select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind = 'r' loop
    call ops.wall(t);
  end loop;
end $$;
reset role;

-- Before an organisation is known only these functions answer. Their owner may pass row-level security and cannot log in.
grant create on schema ops to bos_definer;
set role bos_definer;

create function ops.org_by_slug(s text) returns table (id text, anonymous boolean)
language sql stable security definer set search_path = ops, pg_temp as $$
  select id, anonymous and closing_at is null from ops.orgs where slug = s and erased_at is null
$$;

-- `outbox`: organisations with messages whose time has come; `erase`: those that are to be erased now; any other word: all.
create function ops.due_orgs(work text) returns setof text
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query
  select id from ops.orgs where work <> 'outbox' and erased_at is null and (work <> 'erase' or erase_at <= now())
  union
  select distinct org_id from ops.outbox where work = 'outbox' and done_at is null and next_at <= now();
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.org_by_slug, ops.due_orgs from public;
grant execute on function ops.org_by_slug, ops.due_orgs to bos_app;
