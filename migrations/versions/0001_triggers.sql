-- What starts runs by itself, and which occasions have started one: each of them once, however many servers look.
set role bos_owner;
create table ops.triggers (
  id text primary key,
  org_id text not null references ops.orgs,
  pipeline text not null,
  version text not null,
  content text not null,                   -- the file as it was when somebody switched it on
  kind text not null check (kind in ('schedule', 'push', 'after', 'webhook')),
  spec jsonb not null,
  repo_id text not null references ops.repositories,
  repo_name text not null,
  branch text not null,
  actor jsonb not null,                    -- who switched it on; what they may do is asked each time
  actor_id text not null,
  state text not null check (state in ('active', 'stopped')),
  detail text not null default '',
  seq bigint not null,                     -- line of the ledger up to which it has looked
  next_at timestamptz,
  last_at timestamptz,
  last_run_id text,
  created_at timestamptz not null,
  secret bytea,                            -- of a webhook, sealed; the one before it counts, too, until old_until
  old_secret bytea,
  old_until timestamptz,
  check ((kind = 'webhook') = (secret is not null))
);
create index on ops.triggers (org_id, id);
create index on ops.triggers (next_at) where state = 'active' and next_at is not null;
create table ops.trigger_firings (
  org_id text not null references ops.orgs,
  trigger_id text not null references ops.triggers on delete cascade,
  occasion text not null,
  run_id text not null,
  at timestamptz not null,
  stamp bigint,                            -- of a webhook's call: when it was signed last, in seconds since 1970,
  digest text,                             -- and the sha256 of what it brought
  primary key (trigger_id, occasion)
);
create index on ops.trigger_firings (org_id, at);
call ops.wall('triggers', 'trigger_firings');
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- Organisations with triggers for which something may have happened.
create function ops.trigger_orgs() returns setof text
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query
  select distinct t.org_id from ops.triggers t join ops.orgs o on o.id = t.org_id and o.erased_at is null
    join ops.ledger_head h on h.org_id = t.org_id
   where t.state = 'active' and (t.next_at <= now() or (t.kind in ('push', 'after') and t.seq < h.seq));
end $$;
-- Whose webhook an address is, before anything is known of who calls it.
create function ops.org_of_hook(p_id text) returns text
language sql stable security definer set search_path = ops, pg_temp as $$
  select t.org_id from ops.triggers t join ops.orgs o on o.id = t.org_id and o.erased_at is null and o.closing_at is null
   where t.id = p_id and t.kind = 'webhook'
$$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.trigger_orgs, ops.org_of_hook from public;
grant execute on function ops.trigger_orgs, ops.org_of_hook to bos_app;
