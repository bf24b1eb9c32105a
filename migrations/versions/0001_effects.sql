-- What runs did outside, once; what each step left, so that it can be served or replayed; the receipts of runs.
set role bos_owner;

-- Written before an effect on the outside world, and again after it: a row that says `claimed` or `unsure` is one of
-- which the outside world has to be asked before anybody does it again.
create table ops.run_effects (
  org_id text not null references ops.orgs,
  key text not null,                       -- run.node, or what else is unique to it: the idempotency key outside
  kind text not null,
  run_id text not null,
  step_id text not null,
  request jsonb not null,
  request_digest text not null,
  state text not null check (state in ('claimed', 'done', 'refused', 'unsure')),
  tries int not null default 1,
  result jsonb,
  error text not null default '',
  claimed_at timestamptz not null,
  ended_at timestamptz,
  primary key (org_id, key, kind),
  check ((state = 'done') = (result is not null))
);
create index on ops.run_effects (org_id, run_id);

-- The record of one execution of a step: what went in, what came out. `seal` is a hash over all of it. Who damages one
-- makes it useless, not wrong.
create table ops.step_records (
  org_id text not null references ops.orgs,
  step_id text not null,
  run_id text not null references ops.runs,
  repo_id text references ops.repositories,
  name text not null,
  attempt int not null,
  key text not null,
  servable boolean not null,               -- by another step with an equal key: it succeeded, and asked to be cached
  body text not null,                      -- JSON: ingredients, environment, outcome; a text, so that it stays as hashed
  seal bytea not null check (length(seal) = 32),
  recorded_at timestamptz not null,
  primary key (org_id, step_id, attempt)
);
create index on ops.step_records (org_id, key, recorded_at desc) where servable;
create index on ops.step_records (org_id, run_id);

create table ops.receipts (
  org_id text not null references ops.orgs,
  run_id text not null references ops.runs,
  payload bytea not null,                  -- the statement, byte for byte as it was signed
  key_id text not null,
  signature text not null,
  made_at timestamptz not null,
  primary key (org_id, run_id)
);
call ops.wall('run_effects', 'step_records', 'receipts');
revoke delete on ops.run_effects from bos_app;
revoke update on ops.step_records, ops.receipts from bos_app;
reset role;
