-- The ledger: append-only for everybody, chained per organisation. The server's role may read it and call one function.
set role bos_owner;
create table ops.ledger_head (org_id text primary key references ops.orgs, seq bigint not null, hash bytea not null);
create table ops.ledger (
  org_id text not null references ops.orgs,
  seq bigint not null,
  body text not null,                      -- canonical JSON, hashed exactly as stored
  prev_hash bytea not null,
  hash bytea not null,
  type text not null generated always as (body::jsonb ->> 'type') stored,
  object text not null generated always as (body::jsonb ->> 'object') stored,
  actor text not null generated always as (body::jsonb ->> 'actor') stored,
  primary key (org_id, seq)
);
create index on ops.ledger (org_id, object, seq);
create index on ops.ledger (org_id, type, seq);
create index on ops.ledger (org_id, actor, type, seq);
revoke all on ops.ledger, ops.ledger_head from bos_app;
grant select on ops.ledger, ops.ledger_head to bos_app;
call ops.wall('ledger', 'ledger_head');
call ops.append_only('ledger');

-- Serialises one organisation's chain: call it last in a transaction.
create function ops.ledger_append(b text) returns bigint language plpgsql security definer set search_path = ops, pg_temp as $$
declare o text := ops.org(); h ops.ledger_head; d bytea;
begin
  if o is null then raise exception 'no organisation' using errcode = '42501'; end if;
  select * into h from ops.ledger_head where org_id = o for update;
  if not found then
    insert into ops.ledger_head values (o, 0, sha256(convert_to(o, 'UTF8'))) on conflict do nothing;
    select * into h from ops.ledger_head where org_id = o for update;
  end if;
  d := sha256(h.hash || int8send(h.seq + 1) || convert_to(b, 'UTF8'));
  insert into ops.ledger (org_id, seq, body, prev_hash, hash) values (o, h.seq + 1, b, h.hash, d);
  update ops.ledger_head set seq = h.seq + 1, hash = d where org_id = o;
  return h.seq + 1;
end $$;
reset role;
