-- Traces: what happened within a call, as a client of experiments tells it. Their spans are a file of each.
set role bos_owner;

create table ops.experiment_traces (
  org_id text not null references ops.orgs,
  id text collate "C" not null,            -- the client's
  experiment_id text collate "C" not null references ops.experiments,
  state text not null check (state in ('STATE_UNSPECIFIED', 'OK', 'ERROR', 'IN_PROGRESS')),
  started_at bigint not null,              -- milliseconds, of its clock
  duration_ms bigint,
  request text,
  response text,
  client_id text,
  metadata jsonb not null default '{}',
  tags jsonb not null default '{}',
  created_by text not null,
  created_at timestamptz not null,
  primary key (org_id, id)
);
create index on ops.experiment_traces (org_id, experiment_id, started_at desc, id);

call ops.wall('experiment_traces');
