-- What is served where, and everything that was. A place is an environment of a repository (a preview: of one branch);
-- `current_id` says which of its deployments is served, whatever becomes of the process that serves it.
set role bos_owner;

create table ops.deploy_places (
  id text primary key,
  org_id text not null references ops.orgs,
  repo_id text not null references ops.repositories,
  env text not null check (env in ('preview', 'dev', 'stage', 'prod')),
  branch_id text references ops.branches,  -- of a preview alone
  provider text not null,
  machine text not null,                   -- that serves it, where the provider is on one
  url text,
  current_id text,                         -- the deployment that is served; null: none
  numbers int not null default 0,          -- deployments so far
  created_at timestamptz not null,
  check ((env = 'preview') = (branch_id is not null))
);
create unique index on ops.deploy_places (org_id, repo_id, env, coalesce(branch_id, ''));

create table ops.deployments (
  id text primary key,
  org_id text not null references ops.orgs,
  place_id text not null references ops.deploy_places,
  number int not null check (number > 0),
  name text not null,                      -- run.step.attempt: whoever comes again finds this row
  run_id text not null,
  step_id text not null,
  project_id text references ops.projects,
  repo_id text not null references ops.repositories,
  branch_id text not null references ops.branches,
  repo_name text not null,
  branch text not null,
  provider text not null,
  env text not null,
  status text not null check (status in ('queued', 'building', 'live', 'failed', 'superseded', 'rolled_back')),
  reason text,
  detail text not null default '',
  url text,
  tree text not null,                      -- of the branch
  built_tree text,                         -- what its build made of it: this is served
  commit_sha text,
  manifest jsonb not null,
  health jsonb,
  logs_ref text not null,
  replaces text,
  approval_id text,
  policy_events jsonb not null default '[]',
  created_by text not null,
  created_at timestamptz not null,
  live_at timestamptz,
  ended_at timestamptz,
  unique (org_id, name),
  unique (place_id, number)
);
create index on ops.deployments (org_id, id);
create index on ops.deployments (org_id, branch_id, id);
create index on ops.deployments (org_id, run_id);
create index on ops.deployments (place_id, number desc) where status = 'superseded';
call ops.wall('deploy_places', 'deployments');
revoke delete on ops.deploy_places, ops.deployments from bos_app;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- What a machine has to serve: organisation and place.
create function ops.places_to_serve(p_machine text) returns table (org_id text, place_id text)
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query
  select p.org_id, p.id from ops.deploy_places p join ops.orgs o on o.id = p.org_id and o.erased_at is null
   where p.machine = p_machine and p.current_id is not null;
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.places_to_serve from public;
grant execute on function ops.places_to_serve to bos_app;
