import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { useLive } from '../api/live'
import { Button } from '../ui/Button'
import { EmptyState } from '../ui/EmptyState'
import { Code, json } from '../ui/Facts'
import { Select, TextArea } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table } from '../ui/Table'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { agentRoute } from './route'

type Call = Schemas['CallOut']

/** What an agent does: choose a run and a step of it. */
export function Console({ agent }: { agent: string }) {
  const search = agentRoute.useSearch()
  const go = useNavigate()
  const runs = useQuery({ queryKey: ['runs', { console: true }], queryFn: ({ signal }) => data(api.GET('/v1/runs', { params: { query: { limit: 50 } }, signal })) })
  const run = search.run ?? runs.data?.items[0]?.id
  if (runs.isPending) return <Waiting />
  if (runs.isError) return <ProblemNote error={runs.error} again={() => void runs.refetch()} />
  if (runs.data.items.length === 0 || !run) return <EmptyState title="No agent has worked yet." command={`builderos agent run ${agent} "…"`} />
  const options = runs.data.items.map((one) => [one.id, `${one.pipeline_id} · ${one.status.replace('_', ' ')} · ${one.created_at.slice(0, 16).replace('T', ' ')}`] as const)
  return (
    <div className="flex flex-col gap-4">
      <div className="max-w-xl">
        <Select label="Run" value={run} onChange={(id) => void go({ to: '/agents/$name', params: { name: agent }, search: { ...search, run: id, step: undefined } })} options={options.some(([id]) => id === run) ? options : [[run, run], ...options]} />
      </div>
      <Steps key={run} agent={agent} run={run} />
    </div>
  )
}

function Steps({ agent, run }: { agent: string; run: string }) {
  const search = agentRoute.useSearch()
  const found = useQuery({ queryKey: ['runs', run, 'steps'], queryFn: ({ signal }) => data(api.GET('/v1/runs/{id}', { params: { path: { id: run } }, signal })) })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  const steps = found.data.steps.filter((step) => step.agent_id === agent)
  const step = steps.find((each) => each.id === search.step) ?? steps[0]
  if (!step) return <EmptyState title={`${harmless(agent)} had nothing to do in this run.`} command={`builderos agent run ${agent} "…"`} />
  return (
    <>
      <nav aria-label="Steps" className="flex flex-wrap gap-1">
        {steps.map((each) => (
          <Link key={each.id} to="/agents/$name" params={{ name: agent }} search={{ ...search, run, step: each.id }} aria-current={each.id === step.id ? 'true' : undefined} className={`rounded-full border px-3 py-0.5 text-sm ${each.id === step.id ? 'border-accent font-medium text-accent' : 'border-line text-muted hover:text-text'}`}>
            {harmless(each.name)}
          </Link>
        ))}
        <Link to="/runs/$id" params={{ id: run }} className="ml-auto text-accent underline">The whole run</Link>
      </nav>
      <StepConsole run={run} step={step} />
    </>
  )
}

/** What the agent of one step asked its model and did with its tools; what is said to it; its question and the answer. */
export function StepConsole({ run, step }: { run: string; step: Schemas['StepOut'] }) {
  const cache = useQueryClient()
  const may = useMay(run)
  const [shown, setShown] = useState<Call | null>(null)
  const calls = useInfiniteQuery({
    queryKey: ['calls', step.id],
    queryFn: ({ pageParam, signal }) => data(api.GET('/v1/steps/{id}/calls', { params: { path: { id: step.id }, query: { limit: 200, cursor: pageParam || null } }, signal })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    refetchInterval: step.end === null ? 2000 : false,
  })
  useLive(`run:${run}`, useMemo(() => () => void cache.invalidateQueries({ queryKey: ['calls', step.id] }), [cache, step.id]))
  const rows = useMemo(() => calls.data?.pages.flatMap((page) => page.items) ?? [], [calls.data])
  const open = step.end === null
  return (
    <Section title={`${harmless(step.name)}: what it asked and did`} actions={<Status of={step.status} />}>
      {step.error && <Note tone="bad">{shownLine(step.error, 2000)}</Note>}
      {open && may('run.answer') && <Steer run={run} step={step} />}
      {calls.isPending ? <Waiting /> : calls.isError ? <ProblemNote error={calls.error} again={() => void calls.refetch()} /> : (
        <Table
          label="Calls"
          rows={rows}
          keyOf={(call) => `${call.session}.${call.n}`}
          onOpen={setShown}
          more={calls.hasNextPage}
          onEnd={() => void calls.fetchNextPage()}
          className="max-h-[55vh]"
          columns={[
            { id: 'n', title: 'Call', width: '5rem', align: 'right', cell: (call) => `${call.session}.${call.n}` },
            { id: 'name', title: 'What', width: 'minmax(10rem, 1fr)', cell: (call) => <button type="button" className="text-accent underline" onClick={() => setShown(call)}>{harmless(call.name)}</button> },
            { id: 'status', title: 'State', width: '8rem', cell: (call) => <Status of={call.status} /> },
            { id: 'said', title: 'What was said', width: 'minmax(18rem, 3fr)', cell: (call) => shownLine((call.text || call.asked.join(', ') || json(call.request)).replace(/\s+/g, ' '), 300) },
            { id: 'at', title: 'When', width: '9rem', cell: (call) => <Time at={call.begun_at} /> },
          ]}
        />
      )}
      {shown && (
        <div className="flex flex-col gap-2">
          <h3>Call {shown.session}.{shown.n}: {harmless(shown.name)}</h3>
          {shown.label && <p className="text-warn">{harmless(shown.label)}</p>}
          {Object.keys(shown.request).length > 0 && <Code label="Asked" text={json(shown.request)} className="max-h-72" />}
          {shown.text && <Code label="Said" text={shown.text} className="max-h-72" />}
          {Object.keys(shown.decision).length > 0 && <Code label="Decided" text={json(shown.decision)} className="max-h-40" />}
        </div>
      )}
    </Section>
  )
}

function Steer({ run, step }: { run: string; step: Schemas['StepOut'] }) {
  const cache = useQueryClient()
  const [text, setText] = useState('')
  const waits = step.status === 'waiting_input'
  const done = () => {
    setText('')
    void cache.invalidateQueries({ queryKey: ['runs'] })
  }
  const say = useMutation({ mutationFn: () => data(api.POST('/v1/steps/{id}/message', { params: { path: { id: step.id } }, body: { text } })), onSuccess: done })
  const stop = useMutation({ mutationFn: () => data(api.POST('/v1/steps/{id}/interrupt', { params: { path: { id: step.id } }, body: {} })), onSuccess: done })
  const answer = useMutation({ mutationFn: () => data(api.POST('/v1/runs/{id}/answer', { params: { path: { id: run } }, body: { answer: text, step_id: step.id } as Schemas['RunAnswerInAtAnswerStep'] })), onSuccess: done })
  const asks = (step.waiting as { message?: unknown } | null)?.message
  const failed = say.error ?? stop.error ?? answer.error
  const said = say.data ?? stop.data
  return (
    <form className="flex flex-col gap-2" onSubmit={(event) => { event.preventDefault(); if (waits) answer.mutate(); else say.mutate() }}>
      {waits && <Note tone="warn">{typeof asks === 'string' ? harmless(asks) : 'The agent asks something.'}</Note>}
      <TextArea label={waits ? 'Your answer' : 'Tell it something'} required value={text} onChange={setText} />
      <div className="flex flex-wrap gap-2">
        <Button look="main" type="submit" busy={say.isPending || answer.isPending}>{waits ? 'Answer' : 'Tell it'}</Button>
        {!waits && <Button busy={stop.isPending} onClick={() => stop.mutate()}>Interrupt it</Button>}
      </div>
      {said && <p role="status" className="text-muted">{said.message}</p>}
      {failed && <ProblemNote error={failed} />}
    </form>
  )
}
