-- The ledger: append-only for everybody, chained per organisation. The server's role may read it and call one function.
set role bos_owner;
create table ops.ledger_head (
  org_id text primary key references ops.orgs,
  seq bigint not null,
  hash bytea not null,
  prev_hash bytea not null,
  at timestamptz not null,                 -- the latest time of any line so far
  lag interval not null                    -- how far, at most, a line's time lies before that of a line above it
) with (fillfactor = 50);                  -- one row that changes with every act: new versions find room beside it
-- No reference to the organisation here: a head has one, and each would hold that one row, which all writers share.
create table ops.ledger (
  org_id text not null,
  seq bigint not null,
  body text not null,                      -- canonical JSON, hashed exactly as stored
  prev_hash bytea not null,
  hash bytea not null,
  type text not null,                      -- this and what follows: taken out of the body, to find lines by
  object text not null,
  actor text not null,
  at timestamptz not null,
  branch text,
  code text,
  primary key (org_id, seq)
);
-- All end with the number: the newest lines that match come first without being sorted.
create index on ops.ledger (org_id, object, seq);
create index on ops.ledger (org_id, type, seq);
create index on ops.ledger (org_id, actor, seq);
create index on ops.ledger (org_id, branch, seq) where branch is not null;
create index on ops.ledger (org_id, code, seq) where code is not null;
-- What a line may name many of: files (`path:…`) and the commits of a push (`commit:…`).
create table ops.ledger_terms (
  org_id text not null,
  term bytea not null,                     -- the first 8 bytes of SHA-256
  seq bigint not null,
  primary key (org_id, term, seq)
);
revoke all on ops.ledger, ops.ledger_head, ops.ledger_terms from bos_app;
grant select on ops.ledger, ops.ledger_head, ops.ledger_terms to bos_app;
grant select, insert on ops.ledger, ops.ledger_terms to bos_definer;
grant select, insert, update on ops.ledger_head to bos_definer;
call ops.wall('ledger', 'ledger_head', 'ledger_terms');
call ops.append_only('ledger', 'ledger_terms');
reset role;

-- Serialises one organisation's chain: call it last in a transaction. Its owner is not asked for the organisation
-- row by row, which would cost as much as all the rest; it says itself whose rows they are.
grant create on schema ops to bos_definer;
set role bos_definer;
create function ops.ledger_append(b text) returns bigint language plpgsql security definer set search_path = ops, pg_temp as $$
declare
  o text := ops.org();
  j jsonb := b::jsonb;
  p jsonb := j -> 'payload';
  t timestamptz := (j ->> 'at')::timestamptz;
  n bigint;
  previous bytea;
  own bytea;
begin
  if o is null then raise exception 'no organisation' using errcode = '42501'; end if;
  loop
    update ops.ledger_head
       set seq = seq + 1, prev_hash = hash, hash = sha256(hash || int8send(seq + 1) || convert_to(b, 'UTF8')),
           at = greatest(at, t), lag = greatest(lag, at - t)
     where org_id = o returning seq, prev_hash, hash into n, previous, own;
    exit when found;
    insert into ops.ledger_head values (o, 0, sha256(convert_to(o, 'UTF8')), '', t, '0') on conflict do nothing;
  end loop;
  insert into ops.ledger (org_id, seq, body, prev_hash, hash, type, object, actor, at, branch, code)
    values (o, n, b, previous, own, j ->> 'type', j ->> 'object', j ->> 'actor', t, p ->> 'branch', p ->> 'code');
  if jsonb_typeof(p -> 'paths') = 'array' then
    insert into ops.ledger_terms
      select o, substr(sha256(convert_to('path:' || x, 'UTF8')), 1, 8), n
        from jsonb_array_elements_text(p -> 'paths') x where x is not null on conflict do nothing;
  end if;
  if jsonb_typeof(p -> 'commits') = 'array' then
    insert into ops.ledger_terms
      select o, substr(sha256(convert_to('commit:' || x, 'UTF8')), 1, 8), n
        from jsonb_array_elements_text(p -> 'commits') x where x is not null on conflict do nothing;
  end if;
  return n;
end $$;

-- Between which numbers all lines of a span of time lie. Times are almost, not quite, in order: a line is as late as its
-- act took. Whatever lies further off than the latest of all is left out by halving.
create function ops.ledger_span(p_since timestamptz, p_until timestamptz, out first bigint, out last bigint)
language plpgsql stable security definer set search_path = ops, pg_temp as $$
declare o text := ops.org(); h ops.ledger_head; lo bigint; hi bigint; mid bigint;
begin
  select * into h from ops.ledger_head where org_id = o;
  first := 1;
  last := coalesce(h.seq, 0);
  if p_since is not null then
    lo := 0; hi := last + 1;               -- all up to lo are too old
    while hi - lo > 1 loop
      mid := (lo + hi) / 2;
      if (select at from ops.ledger where org_id = o and seq = mid) < p_since - h.lag then lo := mid; else hi := mid; end if;
    end loop;
    first := hi;
  end if;
  if p_until is not null then
    lo := first - 1; hi := last + 1;       -- all from hi on are too young
    while hi - lo > 1 loop
      mid := (lo + hi) / 2;
      if (select at from ops.ledger where org_id = o and seq = mid) >= p_until + h.lag then hi := mid; else lo := mid; end if;
    end loop;
    last := lo;
  end if;
end $$;
reset role;
revoke create on schema ops from bos_definer;

-- Lines behind a number up to another, put into order once and handed over in one piece: how many have whole hashes,
-- their bodies line by line, all previous hashes and all hashes end to end. It reads as its caller.
create function ops.ledger_piece(
  p_after bigint, p_upto bigint, out whole bigint, out bodies text, out before bytea, out held bytea
) language sql stable set search_path = ops, pg_temp as $$
  select count(*) filter (where length(hash) = 32 and length(prev_hash) = 32),
         string_agg(body, E'\n'), string_agg(prev_hash, ''::bytea), string_agg(hash, ''::bytea)
    from (select body, prev_hash, hash from ops.ledger where seq > p_after and seq <= p_upto order by seq) as lines
$$;
-- Lines that are found by other words than those they hold: what stands beside a body to find it by, and the words of the
-- index. The hashes cover bodies alone, and these are made from them again. It reads as its caller.
create function ops.ledger_misplaced(p_limit int) returns table (seq bigint, what text)
language sql stable set search_path = ops, pg_temp as $$
  with lines as (
    select l.*, l.body::jsonb as j from ops.ledger l
  ), words as (
    select l.seq, substr(sha256(convert_to(w.kind || x, 'UTF8')), 1, 8) as term
      from lines l, (values ('path:', 'paths'), ('commit:', 'commits')) w (kind, member),
           jsonb_array_elements_text(case jsonb_typeof(l.j -> 'payload' -> w.member)
             when 'array' then l.j -> 'payload' -> w.member else '[]' end) x
     where x is not null
  )
  (select l.seq, 'is not found by what it holds' from lines l
    where (l.type, l.object, l.actor, l.at) is distinct from
          (l.j ->> 'type', l.j ->> 'object', l.j ->> 'actor', (l.j ->> 'at')::timestamptz)
       or l.branch is distinct from l.j -> 'payload' ->> 'branch' or l.code is distinct from l.j -> 'payload' ->> 'code'
    limit p_limit)
  union all
  (select distinct w.seq, 'is not found by its files or commits' from words w
    where not exists (select from ops.ledger_terms t where t.term = w.term and t.seq = w.seq) limit p_limit)
  union all
  (select distinct t.seq, 'is found by files or commits that it does not name' from ops.ledger_terms t
    where not exists (select from words w where w.term = t.term and w.seq = t.seq) limit p_limit)
$$;
revoke execute on function ops.ledger_append, ops.ledger_span, ops.ledger_piece, ops.ledger_misplaced from public;
grant execute on function ops.ledger_append, ops.ledger_span, ops.ledger_piece, ops.ledger_misplaced to bos_app;
