-- Traces: what happened within a call, as a client of experiments tells it, and what is thought of it. Their spans are
-- a file of each, or rows, where they came one by one.
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

-- `document`: JSON, as clients get it again.
create table ops.trace_spans (
  org_id text not null,
  trace_id text collate "C" not null,
  id text collate "C" not null,
  started_ns bigint not null,
  size bigint not null,
  document text not null,
  primary key (org_id, trace_id, id),
  foreign key (org_id, trace_id) references ops.experiment_traces on delete cascade
);

create table ops.trace_assessments (
  org_id text not null,
  id text collate "C" not null,
  trace_id text collate "C" not null,
  kind text not null check (kind in ('feedback', 'expectation', 'issue')),
  name text collate "C" not null,
  value jsonb not null,
  source jsonb not null,
  rationale text,
  metadata jsonb not null default '{}',
  span_id text,
  overrides text collate "C",              -- the one that it takes the place of, which is not valid then
  valid boolean not null default true,
  created_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (org_id, id),
  foreign key (org_id, trace_id) references ops.experiment_traces on delete cascade
);
create index on ops.trace_assessments (org_id, trace_id, created_at, id);

call ops.wall('experiment_traces', 'trace_spans', 'trace_assessments');
