import { useInfiniteQuery, useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { cache } from '../api/query'
import { Button } from '../ui/Button'
import { EmptyState } from '../ui/EmptyState'
import { TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { duration, Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { hasEnded, took, type Step } from './data'
import type { Pane } from './Run'

type Call = Schemas['CallOut']
const STATE: Record<string, string> = { begun: 'running', done: 'succeeded', refused: 'denied' }
const SHOWN_LINES = 200

/** What an agent asked its model and did with its tools; it can be told something, or stopped. */
export default function AgentTab({ id, steps, step }: Pane) {
  const shown = step?.agent_id ? step : (steps.findLast((one) => one.agent_id !== null && !hasEnded(one)) ?? steps.find((one) => one.agent_id !== null))
  if (!shown) return <EmptyState title="No agent works in this run." command="builderos agent list" />
  return <Console key={shown.id} id={id} step={shown} />
}

function Console({ id, step }: { id: string; step: Step }) {
  const calls = useInfiniteQuery({
    queryKey: ['run', id, 'calls', step.id],
    queryFn: ({ signal, pageParam }) => data(api.GET('/v1/steps/{id}/calls', { params: { path: { id: step.id }, query: { limit: 50, ...(pageParam ? { cursor: pageParam } : {}) } }, signal })),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
    refetchInterval: hasEnded(step) ? false : 2000, // calls are no events of the run
  })
  if (calls.isPending) return <Waiting />
  if (calls.isError) return <ProblemNote error={calls.error} again={() => void calls.refetch()} />
  const items = calls.data.pages.flatMap((page) => page.items)
  return (
    <div className="flex flex-col gap-3">
      <p className="text-sm text-muted">
        <bdi>{harmless(step.agent_id ?? '')}</bdi> in step <bdi>{harmless(step.name)}</bdi>
      </p>
      {items.length === 0 ? (
        <EmptyState title="The agent has asked nothing yet." command={`builderos agent calls ${step.id}`} />
      ) : (
        <ol aria-label="Calls" className="flex max-h-[55vh] flex-col gap-2 overflow-y-auto" tabIndex={0}>
          {items.map((call) => (
            <CallLine key={`${call.session}.${call.n}`} call={call} />
          ))}
        </ol>
      )}
      {calls.hasNextPage && (
        <div>
          <Button small busy={calls.isFetchingNextPage} onClick={() => void calls.fetchNextPage()}>
            Later calls
          </Button>
        </div>
      )}
      {!hasEnded(step) && <Steer id={id} step={step} />}
    </div>
  )
}

function CallLine({ call }: { call: Call }) {
  const [open, setOpen] = useState(false)
  const what = call.kind === 'tool' ? JSON.stringify(call.request) : ''
  const text = call.text || what
  const lines = text.split('\n', SHOWN_LINES)
  const long = lines.length > 3 || text.length > 400
  return (
    <li className="rounded-lg border border-line bg-panel px-3 py-2">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1 text-sm">
        <span className="font-medium">{call.kind === 'model' ? 'Model' : 'Tool'}</span>
        <code className="font-mono">{shownLine(call.name, 120)}</code>
        <Status of={STATE[call.status] ?? call.status} />
        <Time at={call.begun_at} className="text-muted" />
        {call.ended_at && <span className="text-muted">{duration(took(call.begun_at, call.ended_at, 0))}</span>}
        {call.asked.length > 0 && <span className="text-muted">asks for {call.asked.map((one) => shownLine(one, 60)).join(', ')}</span>}
        {long && (
          <Button small look="quiet" aria-expanded={open} onClick={() => setOpen(!open)}>
            {open ? 'Less' : 'More'}
          </Button>
        )}
      </div>
      {call.kind === 'tool' && call.text && <p className="truncate font-mono text-sm text-muted">{shownLine(what, 300)}</p>}
      <p dir="auto" className={`font-mono text-sm break-words whitespace-pre-wrap ${open ? '' : 'line-clamp-3'}`}>
        {(open ? lines : lines.slice(0, 3)).map((line) => shownLine(line, open ? 2000 : 400)).join('\n')}
      </p>
      {typeof call.decision.rule === 'string' && <p className="text-sm text-muted">by rule {shownLine(call.decision.rule, 120)}</p>}
    </li>
  )
}

function Steer({ id, step }: { id: string; step: Step }) {
  const may = useMay(id)
  const [text, setText] = useState('')
  const tell = useMutation({
    mutationFn: () => data(api.POST('/v1/steps/{id}/message', { params: { path: { id: step.id } }, body: { text } })),
    onSuccess: (said) => {
      setText('')
      toast(said.message)
    },
  })
  const stop = useMutation({
    mutationFn: () => data(api.POST('/v1/steps/{id}/interrupt', { params: { path: { id: step.id } }, body: {} })),
    onSuccess: (said) => {
      toast(said.message)
      void cache.invalidateQueries({ queryKey: ['run', id] })
    },
  })
  if (!may('run.answer')) return null
  return (
    <form
      aria-label="Steer the agent"
      className="flex flex-wrap items-end gap-2"
      onSubmit={(event) => {
        event.preventDefault()
        if (text.trim()) tell.mutate()
      }}
    >
      <div className="min-w-60 grow">
        <TextField label="Tell the agent" hint="It hears it before its next turn." value={text} onChange={setText} maxLength={20000} autoComplete="off" />
      </div>
      <Button type="submit" busy={tell.isPending} disabled={!text.trim()}>
        Tell
      </Button>
      <Button look="danger" busy={stop.isPending} onClick={() => stop.mutate()}>
        Interrupt
      </Button>
      {(tell.isError || stop.isError) && <ProblemNote error={tell.error ?? stop.error} />}
    </form>
  )
}
