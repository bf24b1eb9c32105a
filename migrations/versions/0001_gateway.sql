-- What models were asked for. A row stands before a request leaves, with the most that it can cost, and is settled with
-- what it did cost. Money is counted in billionths of the currency in which the server's prices are.
set role bos_owner;

create table ops.ai_usage (
  id text primary key,
  org_id text not null references ops.orgs,
  kind text not null check (kind in ('chat', 'embeddings', 'responses')),
  door text not null,
  request_id text not null,
  actor text not null,
  credential_id text,
  opened_by text,                          -- of a workspace: who of the organisation opened it
  run_id text,
  step_id text,
  agent text,
  prompt text,                             -- name@version#sha256
  asked text not null,                     -- the name that was asked for
  provider text not null,
  model text not null,                     -- what the provider calls it
  label text not null check (label in ('live', 'recorded', 'scripted')),
  state text not null check (state in ('reserved', 'done', 'failed', 'aborted', 'expired')),
  code text not null default '',           -- of the problem
  repo_id text,                            -- the project that it was asked for
  estimated boolean not null default false,
  held_tokens bigint not null default 0 check (held_tokens >= 0),
  held_cost bigint not null default 0 check (held_cost >= 0),
  input_tokens bigint not null default 0 check (input_tokens >= 0),
  cached_tokens bigint not null default 0,
  output_tokens bigint not null default 0 check (output_tokens >= 0),
  cost bigint not null default 0 check (cost >= 0),
  attempts smallint not null default 0,
  budgets text[] not null default '{}',    -- subject|period|first day of each counter that holds it
  reserved_at timestamptz not null,
  expires_at timestamptz not null,
  settled_at timestamptz,
  first_ms int,
  total_ms int,
  check ((settled_at is null) = (state = 'reserved'))
) with (fillfactor = 85);
create index on ops.ai_usage (org_id, id);
create index on ops.ai_usage (org_id, run_id, id) where run_id is not null;
create index on ops.ai_usage (org_id, expires_at) where state = 'reserved';

create table ops.ai_budgets (
  org_id text not null references ops.orgs,
  subject text not null,                   -- org, each-key, key:crd_…, agent:builder, run:run_…, each-run
  period text not null check (period in ('day', 'month', 'total')),
  meter text not null check (meter in ('tokens', 'cost')),
  amount bigint not null check (amount > 0),
  set_by text not null,
  set_at timestamptz not null,
  primary key (org_id, subject, period, meter)
);
create table ops.ai_counters (
  org_id text not null references ops.orgs,
  subject text not null,
  period text not null check (period in ('day', 'month', 'total')),
  since date not null,                     -- UTC; of a total the day 2000-01-01
  tokens bigint not null default 0,
  cost bigint not null default 0,
  held_tokens bigint not null default 0,
  held_cost bigint not null default 0,
  primary key (org_id, subject, period, since)
) with (fillfactor = 50);
call ops.wall('ai_usage', 'ai_budgets', 'ai_counters');
create view ops.ai_limits with (security_invoker = true) as
  select org_id, subject, period, meter, amount from ops.ai_budgets
  union all
  select org_id, 'project:' || repo_id, period, meter, ceil(amount)::bigint from ops.budgets
   where meter = 'tokens' and repo_id <> '';
grant select on ops.ai_limits to bos_app;

create function ops.ai_since(p_period text, p_at timestamptz) returns date
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case p_period when 'total' then date '2000-01-01' else date_trunc(p_period, p_at at time zone 'UTC')::date end
$$;

-- Hold the most that requests can cost in every budget that is about them, and write their rows. Of one that finds a
-- budget with nothing left no row is written, and the budget is told. `p_subjects` are pairs: the name of a budget, the
-- name of its counter. A project's budget of tokens stands among all other budgets.
create function ops.ai_reserve(p_rows jsonb, p_subjects text[])
returns table (id text, subject text, period text, meter text, amount bigint, used bigint, since date)
language plpgsql set search_path = ops, pg_temp as $$
#variable_conflict use_column
declare
  r ops.ai_usage;
  b record;
  spent record;
  keys text[] := '{}';
  repo text := coalesce(p_rows -> 0 ->> 'repo_id',
    (select g.repo_id from ops.runs g where g.org_id = ops.org() and g.id = p_rows -> 0 ->> 'run_id'));
  subjects text[] := p_subjects || case when repo is null then '{}' else array['project:' || repo, 'project:' || repo] end;
begin
  for b in
    select x.subject as budget, subjects[i + 1] as counter, x.period, x.meter, x.amount,
           ops.ai_since(x.period, (p_rows -> 0 ->> 'reserved_at')::timestamptz) as since
      from generate_series(1, cardinality(subjects), 2) i
      join ops.ai_limits x on x.org_id = ops.org() and x.subject = subjects[i]
     order by 2, x.period, x.meter  -- everybody takes the counters in one order
  loop
    if (b.counter || '|' || b.period || '|' || b.since) = any (keys) then
      continue;
    end if;
    keys := keys || (b.counter || '|' || b.period || '|' || b.since);
    perform 1 from ops.ai_counters k
      where k.org_id = ops.org() and k.subject = b.counter and k.period = b.period and k.since = b.since for update;
    if not found then
      insert into ops.ai_counters (org_id, subject, period, since)
        values (ops.org(), b.counter, b.period, b.since) on conflict do nothing;
      perform 1 from ops.ai_counters k
        where k.org_id = ops.org() and k.subject = b.counter and k.period = b.period and k.since = b.since for update;
    end if;
  end loop;
  for r in select * from jsonb_populate_recordset(null::ops.ai_usage, p_rows) loop
    if cardinality(keys) > 0 then
      select x.subject, x.period, x.meter, x.amount, k.since,
             case x.meter when 'tokens' then k.tokens + k.held_tokens else k.cost + k.held_cost end as used
        into spent
        from generate_series(1, cardinality(subjects), 2) i
        join ops.ai_limits x on x.org_id = r.org_id and x.subject = subjects[i]
        join ops.ai_counters k on k.org_id = r.org_id and k.subject = subjects[i + 1] and k.period = x.period
                              and k.since = ops.ai_since(x.period, r.reserved_at)
       where case x.meter when 'tokens' then k.tokens + k.held_tokens else k.cost + k.held_cost end >= x.amount
       order by 1, 2, 3 limit 1;
      if found then
        return query select r.id, spent.subject, spent.period, spent.meter, spent.amount, spent.used, spent.since;
        continue;
      end if;
      update ops.ai_counters k set held_tokens = k.held_tokens + r.held_tokens, held_cost = k.held_cost + r.held_cost
       where k.org_id = r.org_id and k.subject = any (subjects)
         and k.subject || '|' || k.period || '|' || k.since = any (keys);
    end if;
    insert into ops.ai_usage (id, org_id, kind, door, request_id, actor, credential_id, opened_by, run_id, step_id, agent,
        prompt, asked, provider, model, label, state, repo_id, held_tokens, held_cost, budgets, reserved_at, expires_at)
      values (r.id, r.org_id, r.kind, r.door, r.request_id, r.actor, r.credential_id, r.opened_by, r.run_id, r.step_id,
        r.agent, r.prompt, r.asked, r.provider, r.model, r.label, 'reserved', repo, r.held_tokens, r.held_cost, keys, r.reserved_at,
        r.expires_at);
  end loop;
end $$;

-- Put what requests did cost in the place of what was held for them; what was settled before stays as it is. Returns how
-- many were settled. Every member of `p_rows` has id, provider, model, label, state, code, estimated, the counts and times.
create function ops.ai_settle(p_rows jsonb, p_at timestamptz) returns bigint
language plpgsql set search_path = ops, pg_temp as $$
declare
  n bigint;
begin
  with given as materialized (
    select * from jsonb_populate_recordset(null::ops.ai_usage, p_rows)
  ), settled as (
    update ops.ai_usage u
       set provider = g.provider, model = g.model, label = g.label, state = g.state, code = g.code,
           estimated = g.estimated, input_tokens = g.input_tokens, cached_tokens = g.cached_tokens,
           output_tokens = g.output_tokens, cost = g.cost, attempts = g.attempts, first_ms = g.first_ms,
           total_ms = g.total_ms, settled_at = p_at
      from given g
     where u.id = g.id and u.state = 'reserved'
    returning u.org_id, u.budgets, u.input_tokens + u.output_tokens as tokens, u.cost, u.held_tokens, u.held_cost
  ), sums as (
    select s.org_id, split_part(k, '|', 1) as subject, split_part(k, '|', 2) as period, split_part(k, '|', 3)::date as since,
           sum(s.tokens) as tokens, sum(s.cost) as cost, sum(s.held_tokens) as held_tokens, sum(s.held_cost) as held_cost
      from settled s, unnest(s.budgets) k group by 1, 2, 3, 4
  ), locked as (
    select c.org_id, c.subject, c.period, c.since from ops.ai_counters c
      join sums s using (org_id, subject, period, since) order by c.subject, c.period, c.since for update of c
  ), counted as (
    update ops.ai_counters c
       set tokens = c.tokens + s.tokens, cost = c.cost + s.cost, held_tokens = c.held_tokens - s.held_tokens,
           held_cost = c.held_cost - s.held_cost
      from sums s join locked l using (org_id, subject, period, since)
     where (c.org_id, c.subject, c.period, c.since) = (s.org_id, s.subject, s.period, s.since)
    returning 1
  )
  select (select count(*) from settled) + 0 * (select count(*) from counted) into n;
  return n;
end $$;

-- Count what a project asked models for in the present period before it had a budget of tokens.
create function ops.ai_count_project(p_repo text, p_period text, p_at timestamptz) returns void
language plpgsql set search_path = ops, pg_temp as $$
declare
  first_day date := ops.ai_since(p_period, p_at);
begin
  insert into ops.ai_counters (org_id, subject, period, since) values (ops.org(), 'project:' || p_repo, p_period, first_day)
    on conflict do nothing;
  perform 1 from ops.ai_counters k where k.org_id = ops.org() and k.subject = 'project:' || p_repo and k.period = p_period
    and k.since = first_day for update;  -- what is settled meanwhile waits
  update ops.ai_counters k set (tokens, cost) = (
      select coalesce(sum(u.input_tokens + u.output_tokens), 0)::bigint, coalesce(sum(u.cost), 0)::bigint from ops.ai_usage u
       where u.org_id = ops.org() and u.repo_id = p_repo and u.state <> 'reserved'
         and timezone('UTC', u.reserved_at) >= first_day)
   where k.org_id = ops.org() and k.subject = 'project:' || p_repo and k.period = p_period and k.since = first_day;
end $$;
reset role;
