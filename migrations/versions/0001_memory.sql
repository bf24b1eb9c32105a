-- Memory: what agents and people keep in mind, its vectors, and what it was before. Vectors lie apart from the texts, so
-- that comparing thousands of them reads few pages. The types of vectors lie in the schema of their extension, which the
-- runner has made or found (core/migrations.py).
select set_config('search_path', format('ops, %I, pg_temp', n.nspname), true)
  from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector';
set role bos_owner;

-- Where an item belongs is said by four columns that are never null; an empty one means: everybody's in that place.
create table ops.memory_items (
  id text primary key,
  org_id text not null references ops.orgs,
  repo_id text not null references ops.repositories,
  branch_id text not null,                 -- empty: of the whole repository
  agent text collate "C" not null,         -- empty: of all agents
  run_id text not null,                    -- of short_term alone: the run whose it is
  tier text not null check (tier in ('short_term', 'episodic', 'semantic', 'vector')),
  fact text collate "C" not null,          -- of semantic alone: what the fact is about; unique in its place
  body text not null,
  tags text[] not null,
  source jsonb not null,
  version int not null check (version > 0),
  pinned boolean not null,
  created_by text not null,
  created_at timestamptz not null,
  changed_by text not null,
  changed_at timestamptz not null,
  expires_at timestamptz,
  deleted_at timestamptz,
  tsv tsvector generated always as (to_tsvector('english', fact || ' ' || body)) stored,
  check ((tier = 'short_term') = (run_id <> '')),
  check ((tier = 'semantic') = (fact <> ''))
);
create unique index memory_facts on ops.memory_items (org_id, repo_id, branch_id, agent, fact) where fact <> '';
create index on ops.memory_items (org_id, repo_id, branch_id, agent, id);
create index on ops.memory_items (org_id, expires_at) where expires_at is not null and not pinned;
create index on ops.memory_items (org_id, deleted_at) where deleted_at is not null;
create index on ops.memory_items (org_id, run_id) where run_id <> '';
create index on ops.memory_items using gin (tsv) with (fastupdate = off);

-- What an item was, version by version. Words of people are taken out of it when they are erased.
create table ops.memory_history (
  org_id text not null references ops.orgs,
  item_id text not null references ops.memory_items on delete cascade,
  version int not null,
  act text not null check (act in ('put', 'remove', 'undo')),
  body text,                               -- null: it was removed
  tags text[] not null,
  source jsonb not null,
  by text not null,
  at timestamptz not null,
  primary key (item_id, version)
);
create index on ops.memory_history (org_id, by);

-- One vector of each item, of the model that the server embeds with; comparable among those of one model alone.
create table ops.memory_vectors (
  item_id text primary key references ops.memory_items on delete cascade,
  org_id text not null references ops.orgs,
  repo_id text not null,
  branch_id text not null,
  agent text collate "C" not null,
  run_id text not null,
  tier text not null,
  model text not null,
  dim int not null check (dim between 1 and 3072),
  until timestamptz,                       -- null: it does not expire, or is pinned
  emb halfvec not null
);
alter table ops.memory_vectors alter column emb set storage plain;
create index on ops.memory_vectors (org_id, repo_id, branch_id, agent, model);
-- One index per usual length. One of a bit per number was tried: a quarter of the size, half as much processor again.
do $$
declare d int;
begin
  foreach d in array array[256, 384, 512, 768, 1024, 1536, 3072] loop
    execute format('create index memory_vectors_%s on ops.memory_vectors using hnsw '
      '((emb::halfvec(%s)) halfvec_cosine_ops) with (m = 16, ef_construction = 200) where dim = %s', d, d, d);
  end loop;
end $$;

-- How many items an organisation has.
create table ops.memory_space (
  org_id text primary key references ops.orgs,
  held bigint not null check (held >= 0)
);
call ops.wall('memory_items', 'memory_history', 'memory_vectors', 'memory_space');
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- The items of one place that answer a question best: ids alone, whose rows are then read behind the wall. It is the
-- definer's because @@ is not leakproof: behind the wall its index would not be used. So it says itself whose rows
-- it reads, before anything is compared: of the organisation of this transaction, and of the place.
--
-- Up to p_exact vectors are compared one by one; more are looked for in the index. So is a fifth of that where it is a good
-- part of the table: then the index has to pass over little that is not of the place.
create function ops.recall(
  p_repo text, p_branches text[], p_agents text[], p_run text, p_tiers text[], p_text text, p_vector text, p_model text,
  p_floor real, p_depth int, p_exact int, p_now timestamptz
) returns table (item_id text, score double precision, similarity double precision, matched boolean)
language plpgsql security definer set search_path from current as $$
declare
  o text := ops.org();
  q tsquery;
  place text := 'org_id = $1 and repo_id = $2 and branch_id = any ($3) and agent = any ($4) and run_id in ('''', $5) '
    'and tier = any ($6)';
  near text;
  v halfvec;
  dim int;
  found int := 0;
  few int;
  rows real;
  ids text[] := '{}';
  sims double precision[] := '{}';
  hits text[] := '{}';
  more text[] := '{}';
begin
  begin
    q := websearch_to_tsquery('english', p_text);
  exception when internal_error then  -- a line of dashes is more negations than its reader has room for
    q := plainto_tsquery('english', p_text);
  end;
  if o is null then return; end if;
  select greatest(c.reltuples, 0) into rows from pg_class c where c.oid = 'ops.memory_items'::regclass;
  if p_vector is not null then
    v := p_vector::halfvec;
    dim := vector_dims(v);
    few := least(p_exact, greatest(p_exact / 5, (rows / 8)::int));
    -- At most: the index tells it alone, without looking at a row.
    select count(*) into found from (
      select 1 from ops.memory_vectors w where w.org_id = o and w.repo_id = p_repo and w.branch_id = any (p_branches)
         and w.agent = any (p_agents) and w.model = p_model limit few + 1) s;
    near := format('select emb, item_id from ops.memory_vectors where %s and model = $7 and dim = %s and (until is null or until > $8)', place, dim);
    if found > few then
      perform set_config('hnsw.ef_search', greatest(200, p_depth)::text, true), set_config('enable_sort', 'off', true),
        set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.max_scan_tuples', '100000', true);
      execute format(
        'select coalesce(array_agg(item_id), ''{}''), coalesce(array_agg(s), ''{}'') from (
           select item_id, 1 - (emb <=> $9) as s from (%s order by emb::halfvec(%s) <=> $9::halfvec(%s) limit $10) n) m',
        near, dim, dim)
        into ids, sims using o, p_repo, p_branches, p_agents, coalesce(p_run, ''), p_tiers, p_model, p_now, v, p_depth;
      perform set_config('enable_sort', 'on', true);
    end if;
    if cardinality(ids) < least(found, p_depth) then
      execute format(
        'select coalesce(array_agg(item_id), ''{}''), coalesce(array_agg(s), ''{}'') from (
           select item_id, 1 - (emb <=> $9) as s from (%s) n order by (emb <=> $9) + 0 limit $10) m', near)
        into ids, sims using o, p_repo, p_branches, p_agents, coalesce(p_run, ''), p_tiers, p_model, p_now, v, p_depth;
    end if;
  end if;
  place := place || ' and deleted_at is null and (pinned or expires_at is null or expires_at > $7)';
  if numnode(q) > 0 then
    near := format(
      'select coalesce(array_agg(id order by r desc, id), ''{}'') from (select id, r from (
         select id, ts_rank_cd(tsv, $8) r from (select id, tsv from ops.memory_items where %s and tsv @@ $8 limit $9) a) b
       order by r desc, id limit $10) c', place);
    execute near into hits
      using o, p_repo, p_branches, p_agents, coalesce(p_run, ''), p_tiers, p_now, q, 2000, p_depth;
    if cardinality(hits) < least(10, p_depth) and q::text not like '%!%' then
      -- Too few have all the words: those with any of the rarest follow, so many of these as do not find too many rows, by
      -- what the database has counted of each. Rows that share but common words with the question cost much and say little.
      select string_agg('''' || replace(replace(x.lexeme, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery into q from (
        select l.lexeme, row_number() over w as n, sum(coalesce(c.share, 0)) over w as share
          from unnest(to_tsvector('english', p_text)) l left join (
            select u.lexeme, u.share from pg_catalog.pg_stats s,
              unnest(s.most_common_elems::text::text[], s.most_common_elem_freqs) as u(lexeme, share)
             where s.schemaname = 'ops' and s.tablename = 'memory_items' and s.attname = 'tsv') c using (lexeme)
        window w as (order by coalesce(c.share, 0), length(l.lexeme) desc, l.lexeme)) x
       where n = 1 or n <= 6 and share * rows <= 500;
      -- How near to each other words stand says nothing where any of them will do, and costs three times as much.
      execute replace(near, 'ts_rank_cd', 'ts_rank') into more
        using o, p_repo, p_branches, p_agents, coalesce(p_run, ''), p_tiers, p_now, q, 1000, p_depth;
      hits := hits || array(select m from unnest(more) with ordinality as u(m, n) where m <> all (hits) order by n);
    end if;
  end if;
  return query
  with vec as (
    select u.i as id, u.s as sim, row_number() over (order by u.s desc, u.i) as r
      from unnest(ids, sims) as u(i, s) where u.s >= p_floor),
  txt as (select u.i as id, u.r from unnest(hits) with ordinality as u(i, r))
  select coalesce(vec.id, txt.id), (coalesce(1.0 / (60 + vec.r), 0) + coalesce(1.0 / (60 + txt.r), 0))::double precision * 30.5,
         vec.sim, txt.id is not null
    from vec full join txt on txt.id = vec.id
   order by 2 desc, 1;
end $$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.recall from public;
grant execute on function ops.recall to bos_app;
set local search_path to default;
