-- Who used how much: requests are counted in memory and written down every few seconds, acts are counted off the
-- ledger behind the calls. Budgets are compared with these numbers.
set role bos_owner;

create table ops.usage (
  org_id text not null references ops.orgs,
  day date not null,                       -- UTC
  actor text not null,
  requests bigint not null default 0,
  writes bigint not null default 0,
  refused bigint not null default 0,       -- by the policy, a limit or a budget
  failed bigint not null default 0,        -- any other problem
  busy_ms bigint not null default 0,       -- time that the server spent on them
  commits bigint not null default 0,       -- and pushes; off the ledger, like the rest
  merges bigint not null default 0,
  sandboxes bigint not null default 0,
  approvals bigint not null default 0,
  commands bigint not null default 0,      -- steps of runs that were executed
  cpu_ms bigint not null default 0,        -- processor time that they used
  primary key (org_id, day, actor)
);
create table ops.tool_usage (
  org_id text not null references ops.orgs,
  day date not null,
  tool text not null,
  calls bigint not null default 0,
  failed bigint not null default 0,
  busy_ms bigint not null default 0,
  primary key (org_id, day, tool)
);
create table ops.error_usage (
  org_id text not null references ops.orgs,
  day date not null,
  code text not null,                      -- of the problem
  calls bigint not null default 0,
  primary key (org_id, day, code)
);
create table ops.budgets (
  org_id text not null references ops.orgs,
  repo_id text not null default '',        -- the project; empty: the whole organisation
  meter text not null,
  period text not null check (period in ('day', 'month')),
  amount double precision not null check (amount > 0),
  set_by text not null,
  set_at timestamptz not null,
  told text check (told in ('near', 'exceeded')),  -- what its people were told last, and of which period
  told_since date,
  primary key (org_id, repo_id, meter, period),
  check (case when repo_id = '' then meter in ('requests', 'writes', 'commits', 'sandboxes', 'cpu_seconds')
              else meter in ('cpu_seconds', 'memory_hours', 'gpu_hours', 'tokens') end)
);
-- What commands of a project held and used, on the day on which it was counted. Tokens are counted by the gateway.
create table ops.project_usage (
  org_id text not null references ops.orgs,
  repo_id text not null,
  day date not null,                       -- UTC
  cpu_s double precision not null default 0,
  memory_s double precision not null default 0,  -- seconds of a GiB that was held
  gpu_s double precision not null default 0,     -- seconds of a GPU that was held
  primary key (org_id, repo_id, day)
) with (fillfactor = 50);
create table ops.usage_periods (
  org_id text not null references ops.orgs,
  day date not null,
  closed_at timestamptz not null,
  primary key (org_id, day)
);
call ops.wall('usage', 'tool_usage', 'error_usage', 'budgets', 'project_usage', 'usage_periods');

-- How far a project's budgets are used in their present periods.
create function ops.project_standings(p_repo text, p_today date)
returns table (meter text, period text, amount double precision, used double precision, since date)
language plpgsql stable set search_path = ops, pg_temp as $$
begin
  return query
  select b.meter, b.period, b.amount, ops.project_used(b.org_id, p_repo, b.meter, b.period, s.since, p_today), s.since
    from ops.budgets b cross join lateral (select date_trunc(b.period, p_today::timestamp)::date as since) s
   where b.org_id = ops.org() and b.repo_id = p_repo order by 1, 2;
end $$;
create function ops.project_used(p_org text, p_repo text, p_meter text, p_period text, p_since date, p_today date)
returns double precision language plpgsql stable set search_path = ops, pg_temp as $$
begin
  if p_meter = 'tokens' then
    return coalesce((select k.tokens from ops.ai_counters k where k.org_id = p_org and k.subject = 'project:' || p_repo
                        and k.period = p_period and k.since = p_since), 0);
  end if;
  return coalesce((
    select sum(case p_meter when 'cpu_seconds' then u.cpu_s when 'memory_hours' then u.memory_s / 3600 else u.gpu_s / 3600 end)
      from ops.project_usage u
     where u.org_id = p_org and u.repo_id = p_repo and u.day >= p_since and u.day <= p_today), 0);
end $$;
grant execute on function ops.project_used to bos_definer;
reset role;

grant create on schema ops to bos_definer;
set role bos_definer;
-- Every budget of the server with what was used of it in its present period.
create function ops.budget_states(p_today date)
returns table (org_id text, meter text, period text, amount double precision, used double precision, since date,
  repo_id text, project text)
language plpgsql stable security definer set search_path = ops, pg_temp as $$
begin
  perform ops.ensure_server();
  return query
  select b.org_id, b.meter, b.period, b.amount,
         case when b.repo_id <> '' then ops.project_used(b.org_id, b.repo_id, b.meter, b.period, s.since, p_today)
              else coalesce(u.used, 0) end,
         s.since, b.repo_id, coalesce(r.name, '')
    from ops.budgets b
    cross join lateral (select date_trunc(b.period, p_today::timestamp)::date as since) s
    left join ops.repositories r on r.org_id = b.org_id and r.id = b.repo_id
    left join lateral (
      select sum(case b.meter when 'requests' then v.requests when 'writes' then v.writes when 'commits' then v.commits
                              when 'sandboxes' then v.sandboxes else v.cpu_ms / 1000.0 end)::double precision as used
        from ops.usage v where b.repo_id = '' and v.org_id = b.org_id and v.day >= s.since and v.day <= p_today) u on true;
end $$;

-- What the owner of the server sees of every organisation: numbers, and nothing of what is in it. They answer only in
-- the organisation that is the server owner's.
create function ops.overview(p_since date)
returns table (org_id text, slug text, name text, created_at timestamptz, members bigint, repositories bigint,
  sandboxes jsonb, alerts jsonb, approvals bigint, requests bigint, writes bigint, refused bigint, failed bigint, commits bigint)
language sql stable security definer set search_path = ops, pg_temp as $$
  select o.id, o.slug, o.name, o.created_at, coalesce(m.n, 0), coalesce(r.n, 0), coalesce(s.states, '{}'), coalesce(a.found, '{}'),
         coalesce(p.n, 0), coalesce(u.requests, 0), coalesce(u.writes, 0), coalesce(u.refused, 0), coalesce(u.failed, 0),
         coalesce(u.commits, 0)
    from ops.orgs o
    left join (select org_id, count(*) n from ops.members where removed_at is null group by 1) m on m.org_id = o.id
    left join (select org_id, count(*) n from ops.repositories where deleted_at is null group by 1) r on r.org_id = o.id
    left join (select org_id, jsonb_object_agg(state, n) states
                 from (select org_id, state, count(*) n from ops.sandboxes group by 1, 2) x group by 1) s on s.org_id = o.id
    left join (select org_id, jsonb_object_agg(severity, n) found
                 from (select org_id, severity, count(*) n from ops.alerts where state = 'open' group by 1, 2) x group by 1) a
           on a.org_id = o.id
    left join (select org_id, count(*) n from ops.approvals where state = 'pending' and expires_at > now() group by 1) p
           on p.org_id = o.id
    left join (select org_id, sum(requests)::bigint requests, sum(writes)::bigint writes, sum(refused)::bigint refused,
                      sum(failed)::bigint failed, sum(commits)::bigint commits
                 from ops.usage where day >= p_since group by 1) u on u.org_id = o.id
   where o.erased_at is null and exists (select from ops.orgs h where h.id = ops.org() and h.slug = 'local')
   order by o.created_at, o.id
$$;
create function ops.overview_tools(p_since date) returns table (tool text, calls bigint, failed bigint, busy_ms bigint)
language sql stable security definer set search_path = ops, pg_temp as $$
  select tool, sum(calls)::bigint, sum(failed)::bigint, sum(busy_ms)::bigint
    from ops.tool_usage where day >= p_since and exists (select from ops.orgs h where h.id = ops.org() and h.slug = 'local')
   group by 1 order by 2 desc, 1
$$;
create function ops.overview_errors(p_since date) returns table (code text, calls bigint)
language sql stable security definer set search_path = ops, pg_temp as $$
  select code, sum(calls)::bigint from ops.error_usage
   where day >= p_since and exists (select from ops.orgs h where h.id = ops.org() and h.slug = 'local')
   group by 1 order by 2 desc, 1
$$;
reset role;
revoke create on schema ops from bos_definer;
revoke execute on function ops.budget_states, ops.overview, ops.overview_tools, ops.overview_errors from public;
grant execute on function ops.budget_states, ops.overview, ops.overview_tools, ops.overview_errors to bos_app;
