-- Models that are registered, their versions, what they are called, and who let them up.
set role bos_owner;
create table ops.models (
  id text primary key,
  org_id text not null references ops.orgs,
  name text collate "C" not null,
  description text not null,
  tags jsonb not null,
  numbers int not null default 0,          -- versions so far
  created_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  gone_at timestamptz
);
create unique index on ops.models (org_id, name) where gone_at is null;

create table ops.model_versions (
  id text primary key,
  org_id text not null references ops.orgs,
  model_id text not null references ops.models,
  number int not null check (number > 0),
  stage text not null check (stage in ('registered', 'staged', 'production', 'retired')),
  source text not null,
  run_id text,
  digest bytea not null check (length(digest) = 32),
  files jsonb not null,                    -- path, artifact_id, size, sha256 of each: they never change
  description text not null,
  tags jsonb not null,
  created_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  gone_at timestamptz,
  unique (model_id, number)
);
create index on ops.model_versions (org_id, id desc);
create index on ops.model_versions (org_id, run_id) where run_id is not null;
create unique index on ops.model_versions (model_id) where stage = 'production' and gone_at is null;

create table ops.model_aliases (
  org_id text not null references ops.orgs,
  model_id text not null references ops.models,
  alias text collate "C" not null,
  number int not null,
  primary key (model_id, alias)
);

create table ops.promotions (
  id text primary key,
  org_id text not null references ops.orgs,
  kind text not null check (kind in ('run_to_model', 'stage_to_prod', 'sandbox_to_pr')),
  state text not null check (state in ('requested', 'approved', 'denied', 'applied', 'rolled_back')),
  source jsonb not null,
  target jsonb not null,
  shown jsonb not null,                    -- what whoever decides is shown
  result jsonb not null default '{}',
  reason text not null,
  approval_id text,
  requested_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index on ops.promotions (org_id, id desc);
create index on ops.promotions (org_id, approval_id) where approval_id is not null;

call ops.wall('models', 'model_versions', 'model_aliases', 'promotions');
revoke delete on ops.models, ops.model_versions, ops.promotions from bos_app;

-- The repository in which a run of an experiment was carried out; no row where it was logged from elsewhere.
create function ops.experiment_repository(p_run text) returns table (repo_id text)
language sql stable set search_path = ops, pg_temp as $$
  select r.repo_id from experiment_runs e join runs r on r.org_id = e.org_id and r.id = e.run_id
   where e.org_id = (select ops.org()) and e.id = p_run and r.repo_id is not null
$$;
reset role;
