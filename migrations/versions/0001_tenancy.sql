-- The wall between organisations. A transaction belongs to the organisation whose keyed proof stands in app.unit:
-- the server's role cannot read the key, so injected SQL cannot make a proof for another organisation.
create schema ops authorization bos_owner;
grant usage on schema ops to bos_app, bos_definer;
create table priv.unit_key (k bytea not null);
alter table priv.unit_key owner to bos_owner;
insert into priv.unit_key values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text
  || gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));
grant usage on schema priv to bos_owner;

set role bos_owner;
alter default privileges in schema ops grant select, insert, update, delete on tables to bos_app;
alter default privileges in schema ops grant select on tables to bos_definer;
alter default privileges in schema ops revoke execute on functions from public;
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
reset role;
