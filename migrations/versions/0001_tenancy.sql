-- The wall between organisations. A transaction belongs to the organisation whose keyed proof stands in app.unit:
-- the server's role cannot read the key, so injected SQL cannot make a proof for another organisation.
create schema ops authorization bos_owner;
grant usage on schema ops to bos_app, bos_definer;
grant usage, create on schema priv to bos_owner;  -- an administrator who is no superuser gives nothing to whom may not make it
create table priv.unit_key (k bytea not null);
alter table priv.unit_key owner to bos_owner;
insert into priv.unit_key values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text
  || gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
revoke create on schema priv from bos_owner;

set role bos_owner;
alter default privileges in schema ops grant select, insert, update, delete on tables to bos_app;
alter default privileges in schema ops grant select, delete on tables to bos_definer;
alter default privileges revoke execute on functions from public;  -- for one schema alone it would take nothing away
alter default privileges in schema ops grant execute on functions to bos_app;

create function ops.org() returns text language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp as $$
declare
  s text := current_setting('app.unit', true);
  o text := split_part(s, ' ', 1);
begin
  if encode(sha256((select k from priv.unit_key) || convert_to(pg_backend_pid() || ':' || o, 'UTF8')), 'hex')
     = split_part(s, ' ', 2) then
    return o;
  end if;
  return null;
end $$;
grant execute on function ops.org() to bos_definer;

-- What tells of every organisation answers to the server at work for itself alone: no organisation is called `server`,
-- so no call of one holds this proof.
create function ops.ensure_server() returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if ops.org() is distinct from 'server' then
    raise exception 'this answers to the server alone' using errcode = '42501';
  end if;
end $$;
grant execute on function ops.ensure_server() to bos_definer;

-- Puts tables behind the wall. For migrations alone.
create procedure ops.wall(variadic p_tables text[]) language plpgsql as $$
declare t text;
begin
  foreach t in array p_tables loop
    execute format('alter table ops.%I enable row level security', t);
    execute format('alter table ops.%I force row level security', t);
    execute format('create policy org on ops.%I using (org_id = (select ops.org())) with check (org_id = (select ops.org()))', t);
  end loop;
end $$;

-- Lets nobody change or remove a row of these tables, their owner included. For migrations alone. When an organisation
-- is erased (ops.erase_org), they go with it; its ledger never does.
create function ops.refuse() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and current_user = 'bos_definer' and tg_table_name !~ '^(ledger|checkpoints)' then return null; end if;
  raise exception '% is append-only', tg_table_name using errcode = '42501';
end $$;
create procedure ops.append_only(variadic p_tables text[]) language plpgsql as $$
declare t text;
begin
  foreach t in array p_tables loop
    execute format('revoke update, delete on ops.%I from bos_app', t);
    execute format('create trigger append_only before update or delete or truncate on ops.%I execute function ops.refuse()', t);
  end loop;
end $$;
revoke execute on procedure ops.wall, ops.append_only from bos_app;
reset role;
