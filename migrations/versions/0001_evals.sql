-- What came of suites of evals, each try and the whole. Nothing of it changes afterwards.
set role bos_owner;
create table ops.evals (
  id text primary key,
  org_id text not null references ops.orgs,
  name text not null,                      -- run.step.attempt: one result each
  suite text collate "C" not null,
  suite_digest text not null,
  prompt text collate "C",
  version text,
  rank text collate "C",
  sha256 text,
  run_id text not null,
  repo_id text,
  repo_name text not null,
  branch_id text,
  branch text not null,
  counts boolean not null,                 -- tried for somebody who may publish prompts: gates listen to it
  verdict text not null check (verdict in ('pass', 'fail')),
  pass_rate double precision not null,
  cases integer not null,
  document jsonb not null,
  created_by text not null,
  created_at timestamptz not null,
  unique (org_id, name)
);
create index on ops.evals (org_id, suite, id desc);
create index on ops.evals (org_id, prompt, id desc) where prompt is not null;
create index on ops.evals (org_id, run_id);
create table ops.eval_trials (
  org_id text not null references ops.orgs,
  run_id text not null,
  step text not null,
  suite_digest text not null,
  cell text not null,
  repeat integer not null,
  document jsonb not null,
  at timestamptz not null,
  primary key (org_id, run_id, step, suite_digest, cell, repeat)
);
call ops.wall('evals', 'eval_trials');
call ops.append_only('evals', 'eval_trials');
reset role;
