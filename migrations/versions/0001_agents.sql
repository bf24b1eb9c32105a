-- Agents: the sessions of steps, the journal of what models and tools did in them, and what people said meanwhile.
set role bos_owner;

-- A session goes on through crashes, approvals and questions; another attempt of a step that failed gets another one.
create table ops.agent_sessions (
  org_id text not null references ops.orgs,
  step_id text not null,
  number int not null check (number > 0),
  run_id text not null references ops.runs,
  agent text not null,
  spec jsonb not null,                     -- agent, prompt, model and tools as they were when it began
  tree text not null,                      -- that it began with
  state text not null check (state in ('open', 'ended')),
  interrupted_by text,                     -- who stopped it to say something
  attempt int,                             -- that ended it, with its outcome: asked again, it answers the same
  outcome jsonb,
  model_calls int not null default 0,
  tool_calls int not null default 0,
  input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  cost double precision not null default 0,
  started_at timestamptz not null,
  ended_at timestamptz,
  primary key (org_id, step_id, number)
);
create index on ops.agent_sessions (org_id, run_id);

-- Written before a call, and again after it. What has a result is never called again.
create table ops.agent_calls (
  org_id text not null references ops.orgs,
  step_id text not null,
  session int not null,
  n int not null check (n > 0),            -- in the order of the session
  run_id text not null references ops.runs,
  kind text not null check (kind in ('model', 'tool')),
  name text not null,                      -- of the model, or the tool
  digest text not null,                    -- of what was asked
  request jsonb not null,                  -- arguments of a tool; what people had said before a call of a model
  status text not null check (status in ('begun', 'waiting', 'done', 'failed', 'refused')),
  response jsonb,
  tree text,                               -- the workspace after a tool that changed it
  usage jsonb not null default '{}',
  decision jsonb not null default '{}',
  begun_at timestamptz not null,
  ended_at timestamptz,
  primary key (org_id, step_id, session, n),
  check ((status in ('done', 'failed', 'refused')) = (response is not null))
);
create index on ops.agent_calls (org_id, run_id);

create table ops.agent_messages (
  org_id text not null references ops.orgs,
  id bigint generated always as identity,
  step_id text not null,
  run_id text not null references ops.runs,
  author text not null,
  body text not null,
  said_at timestamptz not null,
  session int,                             -- and the call of a model that heard it first
  n int,
  primary key (org_id, id)
);
create index on ops.agent_messages (org_id, step_id, id);

-- What people say of lines that a run changed. The agent that works hears them, else the next one that begins in the run or
-- in one that runs it again.
create table ops.run_comments (
  org_id text not null references ops.orgs,
  id text not null,
  n bigint generated always as identity,   -- in the order in which they were made
  run_id text not null references ops.runs,
  path text not null,
  side text not null check (side in ('old', 'new')),
  line int check (line > 0),               -- null: the file as a whole
  snippet text not null,                   -- the line as it was seen
  body text not null,
  author text not null,
  author_name text not null,
  said_at timestamptz not null,
  step_id text,                            -- whose agent was told
  told_at timestamptz,
  primary key (org_id, id)
);
create index on ops.run_comments (org_id, run_id, n);
call ops.wall('agent_sessions', 'agent_calls', 'agent_messages', 'run_comments');
revoke delete on ops.agent_sessions, ops.agent_calls, ops.agent_messages, ops.run_comments from bos_app;

-- What has to be known before a model is asked: who wants the session to stop, whether something was said that nobody heard,
-- and what all agents of the run have used.
create function ops.agent_standing(p_step text, p_number int, p_run text)
returns table (interrupted_by text, unheard boolean, tokens bigint, cost double precision)
language sql stable set search_path = ops, pg_temp as $$
  select max(s.interrupted_by) filter (where s.step_id = p_step and s.number = p_number),
         exists (select from ops.agent_messages m where m.org_id = o.id and m.step_id = p_step and m.session is null),
         coalesce(sum(s.input_tokens + s.output_tokens), 0)::bigint, coalesce(sum(s.cost), 0)
    from (select ops.org() as id) o left join ops.agent_sessions s on s.org_id = o.id and s.run_id = p_run
   group by o.id
$$;

-- How a call stands from now on; of a model that has answered, what it used is counted. What has a result keeps it.
create function ops.change_agent_call(
  p_step text, p_session int, p_n int, p_status text, p_response jsonb, p_tree text, p_usage jsonb, p_decision jsonb,
  p_ended timestamptz) returns void
language plpgsql set search_path = ops, pg_temp as $$
declare o text := ops.org(); k text;
begin
  update ops.agent_calls c set status = p_status, response = p_response, tree = p_tree, usage = p_usage,
         decision = p_decision, ended_at = p_ended
   where c.org_id = o and c.step_id = p_step and c.session = p_session and c.n = p_n and c.status in ('begun', 'waiting')
  returning c.kind into k;
  if not found then
    raise exception 'call % of %.% has ended already', p_n, p_step, p_session
      using errcode = 'BO409', hint = 'Look at the run.';
  end if;
  if k = 'model' and p_ended is not null then
    update ops.agent_sessions s set model_calls = model_calls + 1,
           input_tokens = input_tokens + coalesce((p_usage ->> 'input_tokens')::bigint, 0),
           output_tokens = output_tokens + coalesce((p_usage ->> 'output_tokens')::bigint, 0),
           cost = cost + coalesce((p_usage ->> 'cost')::float8, 0)
     where s.org_id = o and s.step_id = p_step and s.number = p_session;
  end if;
end $$;
reset role;
