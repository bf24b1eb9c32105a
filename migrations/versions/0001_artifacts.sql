-- Artifacts: what runs and people keep. The bytes lie in a store (a folder, a bucket), named by their SHA-256; here is who
-- made them, what they weigh, and where they lie.
set role bos_owner;

-- One row per organisation, locked by whoever adds or takes away content of it: so that what is being kept is never
-- removed, and rows are locked in one order.
create table ops.artifact_space (
  org_id text primary key references ops.orgs,
  bytes bigint not null default 0 check (bytes >= 0)
);

-- Content, once per organisation: two of them never share any, so that nobody learns what the other has.
create table ops.artifact_contents (
  org_id text not null references ops.orgs,
  hash bytea not null check (length(hash) = 32),
  size bigint not null check (size >= 0),
  blocks bytea not null,                   -- SHA-256 of each mebibyte; empty where there is one alone
  store text not null,                     -- where it lies
  stored_at timestamptz not null,
  doomed_at timestamptz,                   -- since when nothing refers to it; it is removed some time after that
  primary key (org_id, hash)
);
create index on ops.artifact_contents (org_id, doomed_at) where doomed_at is not null;
create index on ops.artifact_contents (org_id, store, hash);

create table ops.artifacts (
  id text primary key,
  org_id text not null references ops.orgs,
  run_id text,
  step_id text,
  repo_id text references ops.repositories,
  sandbox_id text references ops.sandboxes,
  pipeline text,
  path text not null,
  type text not null,
  hash bytea not null check (length(hash) = 32),
  size bigint not null,
  media_type text not null,
  redacted boolean not null,               -- secrets were taken out of it
  created_by text not null,
  created_by_prompt text,
  created_by_agent text,
  created_at timestamptz not null,
  expires_at timestamptz,                  -- its own term; without one those of its pipeline and organisation hold
  gone_at timestamptz,                     -- its content may be gone from then on; this row stays
  gone_why text check (gone_why in ('expired', 'deleted')),
  check ((gone_at is null) = (gone_why is null))
);
create index on ops.artifacts (org_id, id);
create index on ops.artifacts (org_id, run_id, id) where run_id is not null;
create index on ops.artifacts (org_id, sandbox_id, id) where sandbox_id is not null;
create index on ops.artifacts (org_id, hash) where gone_at is null;
create index on ops.artifacts (org_id, created_at) where gone_at is null;
-- A step that is repeated after a crash keeps what it kept before, once.
create unique index artifacts_of_a_step on ops.artifacts (org_id, run_id, step_id, path, hash)
  where gone_at is null and run_id is not null and step_id is not null;

create table ops.artifact_uploads (
  id text primary key,
  org_id text not null references ops.orgs,
  run_id text,
  repo_id text references ops.repositories,
  sandbox_id text references ops.sandboxes,
  pipeline text,
  path text not null,
  type text not null,
  media_type text,
  size bigint not null,
  hash bytea not null check (length(hash) = 32),
  store text not null,
  received bigint not null default 0,
  lease text,                              -- of whoever writes the next part
  leased_at timestamptz,
  artifact_expires_at timestamptz,
  created_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  check (received between 0 and size)
);
create index on ops.artifact_uploads (org_id, id);
create index on ops.artifact_uploads (org_id, expires_at);

-- Terms and limits; the row with an empty pipeline is the organisation's.
create table ops.artifact_rules (
  org_id text not null references ops.orgs,
  pipeline text not null,
  keep_days int check (keep_days between 1 and 36500),
  max_bytes bigint check (max_bytes >= 0),
  redact text check (redact in ('all', 'known', 'off')),
  set_by text not null,
  set_at timestamptz not null,
  primary key (org_id, pipeline)
);

call ops.wall('artifact_space', 'artifact_contents', 'artifacts', 'artifact_uploads', 'artifact_rules');
revoke delete on ops.artifacts, ops.artifact_space from bos_app;
reset role;

-- Where this installation puts new content, once somebody has moved it; before that its setting says it.
grant create on schema priv to bos_owner;
create table priv.artifact_place (only_one boolean primary key default true check (only_one), url text not null, set_at timestamptz not null);
alter table priv.artifact_place owner to bos_owner;
revoke create on schema priv from bos_owner;
set role bos_owner;
create function ops.artifact_place() returns setof text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select url from priv.artifact_place
$$;
create function ops.set_artifact_place(p_url text) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform ops.ensure_server();
  insert into priv.artifact_place (url, set_at) values (p_url, now()) on conflict (only_one) do update set url = p_url, set_at = now();
end $$;
reset role;
