-- Telling people and other systems what happened: webhooks with their deliveries, what a reader has read, and how far
-- the ledger was passed on. Nothing here is written on the way of a commit: all of it is read off the ledger behind it.
set role bos_owner;

alter table ops.alerts add column announced boolean not null default false;  -- whether it has its line in the ledger
create index on ops.alerts (org_id) where not announced;
create index on ops.approvals (expires_at) where state = 'pending';

create table ops.news_cursors (
  org_id text primary key references ops.orgs,
  seq bigint not null                      -- the last line of the ledger that was passed on
);

create table ops.webhooks (
  id text primary key,
  org_id text not null references ops.orgs,
  url text not null,
  description text not null,
  events text[] not null,                  -- types of events; `approval.*`, `*`
  repo text,                               -- of this repository alone, by name
  branch text,                             -- of branches like this alone; * is any text
  state text not null check (state in ('active', 'paused', 'disabled', 'deleted')),
  secret bytea not null,                   -- sealed
  old_secret bytea,                        -- signs, too, until old_until
  old_until timestamptz,
  failing_since timestamptz,               -- of the first failure since the last success
  created_by text not null,
  created_at timestamptz not null
);
create index on ops.webhooks (org_id, id);

create table ops.deliveries (
  id text primary key,
  org_id text not null references ops.orgs,
  webhook_id text not null references ops.webhooks,
  event_id text not null,
  type text not null,
  body text not null,                      -- exactly what is signed and sent
  state text not null check (state in ('pending', 'delivered', 'failed', 'dropped')),
  attempts int not null default 0,
  round int not null default 0,            -- how often it was asked to be delivered anew
  created_at timestamptz not null,
  begun_at timestamptz not null,           -- of this round: it is given up a day later
  done_at timestamptz,
  unique (webhook_id, event_id)
);
create index on ops.deliveries (org_id, id);
create index on ops.deliveries (webhook_id, id);

create table ops.delivery_attempts (
  id bigint generated always as identity primary key,
  org_id text not null references ops.orgs,
  delivery_id text not null references ops.deliveries on delete cascade,
  at timestamptz not null,
  status int,
  latency_ms int,
  error text,
  response text                            -- its beginning, credentials masked
);
create index on ops.delivery_attempts (delivery_id, id);
create index on ops.delivery_attempts (org_id, id);

create table ops.inbox_reads (
  org_id text not null references ops.orgs,
  reader text not null,
  item text not null,
  at timestamptz not null,
  primary key (org_id, reader, item)
);

create table ops.notice_preferences (
  org_id text not null references ops.orgs,
  reader text not null,
  mail_approvals boolean not null,
  mail_alerts text not null check (mail_alerts in ('none', 'critical', 'warning', 'info')),
  primary key (org_id, reader)
);

call ops.wall('news_cursors', 'webhooks', 'deliveries', 'delivery_attempts', 'inbox_reads', 'notice_preferences');
revoke delete on ops.webhooks from bos_app;
revoke update on ops.delivery_attempts from bos_app;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- Organisations with something to pass on: lines of the ledger, new alerts, requests whose time is over.
create function ops.news_orgs() returns setof text
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query
  select h.org_id from ops.ledger_head h join ops.orgs o on o.id = h.org_id and o.erased_at is null
    left join ops.news_cursors c on c.org_id = h.org_id
   where h.seq > coalesce(c.seq, 0)
  union
  select distinct org_id from ops.alerts where not announced
  union
  select distinct org_id from ops.approvals where state = 'pending' and expires_at <= now();
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.news_orgs from public;
grant execute on function ops.news_orgs to bos_app;
