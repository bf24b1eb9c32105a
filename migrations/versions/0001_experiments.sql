-- Experiments: what was tried, with which values, and what came of it. A client's times are its own (milliseconds, of
-- whatever its clock says); ours stand beside them.
set role bos_owner;

create table ops.experiments (
  id text collate "C" primary key,
  org_id text not null references ops.orgs,
  name text not null,
  project_id text references ops.projects,
  tags jsonb not null default '{}',
  active boolean not null default true,
  created_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  unique (org_id, name)
);

create table ops.experiment_runs (
  id text collate "C" primary key,
  org_id text not null references ops.orgs,
  experiment_id text collate "C" not null references ops.experiments,
  name text collate "C" not null,
  status text collate "C" not null check (status in ('running', 'scheduled', 'finished', 'failed', 'killed')),
  external boolean not null,               -- logged from outside: nobody vouches for its data, code and runtime
  params jsonb not null default '{}',      -- as submitted; what was logged lies in run_params
  dataset_ref text,
  code_sha text,
  runtime text,
  run_id text,                             -- the run that carries it out
  step text collate "C",                   -- and its step; none: all of its steps, each a child of this one
  sweep jsonb,                             -- what is searched, how, and when to give up
  user_name text not null,                 -- as the client says
  started_at bigint not null,
  ended_at bigint,
  active boolean not null default true,
  deleted_at timestamptz,
  created_by text not null,
  created_at timestamptz not null,
  check (external or (dataset_ref is not null and code_sha is not null and runtime is not null))
);
create index on ops.experiment_runs (org_id, experiment_id, active, started_at desc, id);
create index on ops.experiment_runs (org_id, experiment_id, status, started_at desc, id);
create index on ops.experiment_runs (org_id, experiment_id, name);
create index on ops.experiment_runs (org_id, run_id) where run_id is not null;

-- Each point of each series. The same point sent twice is one row: clients repeat what was not answered.
create table ops.run_metrics (
  org_id text not null references ops.orgs,
  run_id text collate "C" not null,
  key text collate "C" not null,
  step bigint not null,
  at bigint not null,
  value double precision not null,
  primary key (org_id, run_id, key, step, at, value)
);
-- The point of each series with the greatest (step, at, value): what lists show and searches ask for.
create table ops.run_metrics_latest (
  org_id text not null references ops.orgs,
  run_id text collate "C" not null,
  key text collate "C" not null,
  step bigint not null,
  at bigint not null,
  value double precision not null,
  experiment_id text collate "C" not null,
  primary key (org_id, run_id, key)
);
create index on ops.run_metrics_latest (org_id, experiment_id, key, value, run_id);

-- `brief` is what an index can hold, `started_at` the run's: so that an equality, newest first, is one walk of it.
create table ops.run_params (
  org_id text not null references ops.orgs,
  run_id text collate "C" not null,
  key text collate "C" not null,
  value text collate "C" not null,
  brief text collate "C" not null generated always as (left(value, 200)) stored,
  experiment_id text collate "C" not null,
  started_at bigint not null,
  primary key (org_id, run_id, key)
);
create index on ops.run_params (org_id, experiment_id, key, brief, started_at desc, run_id);
create table ops.run_tags (
  org_id text not null references ops.orgs,
  run_id text collate "C" not null,
  key text collate "C" not null,
  value text collate "C" not null,
  brief text collate "C" not null generated always as (left(value, 200)) stored,
  experiment_id text collate "C" not null,
  started_at bigint not null,
  primary key (org_id, run_id, key)
);
create index on ops.run_tags (org_id, experiment_id, key, brief, started_at desc, run_id);

-- What a run read, as the client describes it.
create table ops.run_inputs (
  org_id text not null references ops.orgs,
  run_id text collate "C" not null,
  name text collate "C" not null,
  digest text collate "C" not null,
  experiment_id text collate "C" not null,
  document jsonb not null,                 -- source_type, source, schema, profile
  tags jsonb not null default '{}',
  primary key (org_id, run_id, name, digest)
);
create index on ops.run_inputs (org_id, experiment_id, name);

-- Models that runs made; a registry refers to them by their id.
create table ops.logged_models (
  id text collate "C" primary key,
  org_id text not null references ops.orgs,
  experiment_id text collate "C" not null references ops.experiments,
  run_id text collate "C",
  name text collate "C" not null,
  type text,
  status text not null check (status in ('pending', 'ready', 'failed')),
  params jsonb not null default '{}',
  tags jsonb not null default '{}',
  metrics jsonb not null default '[]',
  active boolean not null default true,
  created_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index on ops.logged_models (org_id, experiment_id, created_at desc, id);
create index on ops.logged_models (org_id, run_id) where run_id is not null;
-- Which models a run used or made, and at which step.
create table ops.run_models (
  org_id text not null references ops.orgs,
  run_id text collate "C" not null,
  model_id text collate "C" not null,
  direction text not null check (direction in ('input', 'output')),
  step bigint not null default 0,
  primary key (org_id, run_id, direction, model_id)
);

-- Files of runs and of logged models: their bytes are artifacts.
create table ops.experiment_artifacts (
  org_id text not null references ops.orgs,
  owner text collate "C" not null,
  path text collate "C" not null,
  artifact_id text not null,
  size bigint not null,
  primary key (org_id, owner, path)
);

call ops.wall('experiments', 'experiment_runs', 'run_metrics', 'run_metrics_latest', 'run_params', 'run_tags', 'run_inputs',
  'logged_models', 'run_models', 'experiment_artifacts');
revoke delete on ops.experiments, ops.experiment_runs, ops.run_metrics_latest, ops.run_params, ops.run_inputs from bos_app;
call ops.append_only('run_metrics');

-- What is to be known of a run before something is logged to it.
create function ops.experiment_run(p_run text)
returns table (experiment_id text, project_id text, workspace_id text, project text, active boolean, status text, started_at bigint)
language sql stable set search_path = ops, pg_temp as $$
  select r.experiment_id, e.project_id, p.workspace_id, p.name, r.active, r.status, r.started_at
  from experiment_runs r join experiments e on e.id = r.experiment_id left join projects p on p.id = e.project_id
  where r.org_id = (select ops.org()) and r.id = p_run
$$;

create function ops.log_metrics(p_run text, p_experiment text, p_keys text[], p_values double precision[], p_at bigint[], p_steps bigint[])
returns void language sql set search_path = ops, pg_temp as $$
  with n as (
    select (select ops.org()) as org, u.* from unnest(p_keys, p_values, p_at, p_steps) u(key, value, at, step)
  ), i as (
    insert into run_metrics (org_id, run_id, key, step, at, value) select org, p_run, key, step, at, value from n
    on conflict do nothing
  )
  insert into run_metrics_latest as l (org_id, run_id, key, step, at, value, experiment_id)
  select distinct on (key) org, p_run, key, step, at, value, p_experiment from n order by key, step desc, at desc, value desc
  on conflict (org_id, run_id, key) do update set step = excluded.step, at = excluded.at, value = excluded.value
  where (excluded.step, excluded.at, excluded.value) > (l.step, l.at, l.value)
$$;

-- Returns the first parameter that was logged with another value before: then nothing of the transaction may stay.
create function ops.log_params(p_run text, p_experiment text, p_started bigint, p_keys text[], p_values text[])
returns table (key text, old text, new text) language plpgsql set search_path = ops, pg_temp as $$
begin
  insert into run_params (org_id, run_id, key, value, experiment_id, started_at)
  select (select ops.org()), p_run, u.key, u.value, p_experiment, p_started from unnest(p_keys, p_values) u(key, value) order by u.key
  on conflict do nothing;
  return query select p.key, p.value, u.value from unnest(p_keys, p_values) u(key, value)
    join run_params p on p.org_id = (select ops.org()) and p.run_id = p_run and p.key = u.key
    where p.value <> u.value order by p.key limit 1;
end $$;

create function ops.log_tags(p_run text, p_experiment text, p_started bigint, p_keys text[], p_values text[])
returns void language sql set search_path = ops, pg_temp as $$
  insert into run_tags (org_id, run_id, key, value, experiment_id, started_at)
  select distinct on (u.key) (select ops.org()), p_run, u.key, u.value, p_experiment, p_started
  from unnest(p_keys, p_values) with ordinality u(key, value, n) order by u.key, u.n desc
  on conflict (org_id, run_id, key) do update set value = excluded.value
$$;

-- What was logged to runs, as the JSON that is told of it: of series the latest points. A thousand runs are one answer.
-- Run by run: asked for all at once, a database that has not counted its rows yet walks the index of a whole organisation.
create function ops.experiment_run_data(p_ids text[], p_parts text[])
returns table (run_id text, part text, data text) language sql stable set search_path = ops, pg_temp as $$
  select u.id, 'metrics', f.data from unnest(p_ids) u(id) cross join lateral (
    select json_agg(
      json_build_object('key', m.key, 'value', m.value, 'timestamp', m.at, 'step', m.step) order by m.key)::text as data
    from run_metrics_latest m where m.org_id = (select ops.org()) and m.run_id = u.id) f
  where 'metrics' = any (p_parts) and f.data is not null
  union all
  select u.id, 'params', f.data from unnest(p_ids) u(id) cross join lateral (
    select json_agg(json_build_object('key', p.key, 'value', p.value) order by p.key)::text as data
    from run_params p where p.org_id = (select ops.org()) and p.run_id = u.id) f
  where 'params' = any (p_parts) and f.data is not null
  union all
  select u.id, 'tags', f.data from unnest(p_ids) u(id) cross join lateral (
    select json_agg(json_build_object('key', t.key, 'value', t.value) order by t.key)::text as data
    from run_tags t where t.org_id = (select ops.org()) and t.run_id = u.id) f
  where 'tags' = any (p_parts) and f.data is not null
  union all
  select i.run_id, 'inputs', json_agg(json_build_object(
    'dataset', jsonb_build_object('name', i.name, 'digest', i.digest) || i.document, 'tags', coalesce((
      select json_agg(json_build_object('key', e.key, 'value', e.value) order by e.key) from jsonb_each_text(i.tags) e), '[]')
    ) order by i.name, i.digest)::text
  from run_inputs i where 'inputs' = any (p_parts) and i.org_id = (select ops.org()) and i.run_id = any (p_ids)
  group by i.run_id
  union all
  select o.run_id, o.direction, json_agg(json_build_object('model_id', o.model_id, 'step', o.step) order by o.step, o.model_id)::text
  from run_models o where 'models' = any (p_parts) and o.org_id = (select ops.org()) and o.run_id = any (p_ids)
  group by o.run_id, o.direction
$$;
reset role;
