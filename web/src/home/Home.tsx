import { useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, Navigate } from '@tanstack/react-router'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { useSession } from '../api/session'
import { BudgetMeters } from '../shell/BudgetMeters'
import { inboxQuery } from '../shell/inbox'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { Page, Panel, Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'

export const Route = createLazyRoute('/')({ component: Home })

type Run = Schemas['RunSummary']
const RECENT_MS = 3 * 86_400_000
const SHOWN = 12

/** What waits for the caller first; then what runs, what went wrong, and how much is used up. */
function Home() {
  const session = useSession()
  // Somebody without an account has one room, and it is this one.
  if ('by' in session && session.by === 'token') return <Navigate to="/workspace" search={{ part: 'files' }} replace />
  return <OfMembers />
}

function OfMembers() {
  const runs = useQuery({
    queryKey: ['runs', { home: true }],
    queryFn: ({ signal }) => data(api.GET('/v1/runs', { params: { query: { limit: 100 } }, signal })),
  })
  const all = runs.data?.items ?? []
  const asks = all.filter((run) => run.status === 'waiting_input')
  const active = all.filter((run) => run.status === 'running' || run.status === 'queued' || run.status === 'waiting_approval' || run.status === 'paused')
  const since = Date.now() - RECENT_MS
  const failed = all.filter((run) => (run.status === 'failed' || run.status === 'timed_out') && Date.parse(run.ended_at ?? run.created_at) > since)
  return (
    <Page title="Home" actions={<CopyAs call={{ cli: 'builderos inbox list', method: 'GET', path: '/v1/inbox', mcp: { name: 'listInbox', arguments: {} } }} />}>
      <Section title="Waits for you">
        <WaitsForYou asks={asks} />
      </Section>
      <div className="grid gap-5 lg:grid-cols-2">
        <Section title="Running">
          {runs.isPending ? <Waiting /> : runs.isError ? <ProblemNote error={runs.error} again={() => void runs.refetch()} /> : active.length === 0 ? <EmptyState title="Nothing runs." command="builderos run start <pipeline>" /> : <Runs label="Running" runs={active} />}
        </Section>
        <Section title="Went wrong in the last three days">{failed.length === 0 ? <p className="text-muted">{runs.isPending ? '' : 'Nothing.'}</p> : <Runs label="Went wrong" runs={failed} />}</Section>
      </div>
      <Budgets />
    </Page>
  )
}

function WaitsForYou({ asks }: { asks: readonly Run[] }) {
  const inbox = useQuery(inboxQuery)
  if (inbox.isPending) return <Waiting />
  if (inbox.isError) return <ProblemNote error={inbox.error} again={() => void inbox.refetch()} />
  // A question that the caller may answer stands in the inbox: its run is not named a second time.
  const asked = new Set(inbox.data.items.filter((item) => item.kind === 'question').map((item) => item.object))
  const others = asks.filter((run) => !asked.has(run.id))
  if (inbox.data.items.length === 0 && others.length === 0) return <EmptyState title="Nothing waits for you." command="builderos approvals" />
  return (
    <Panel>
      <ul aria-label="Waits for you" className="divide-y divide-line">
        {others.map((run) => (
          <RunLine key={run.id} run={run} />
        ))}
        {inbox.data.items.slice(0, 50).map((item) => (
          <li key={item.id} className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2.5">
            <span className="min-w-0 grow">
              {item.kind === 'approval' ? (
                <Link to="/approvals" search={{ id: item.id }} className="font-medium text-accent underline">
                  {harmless(item.title)}
                </Link>
              ) : item.kind === 'question' ? (
                <Link to={`/runs/${item.object}` as string} className="font-medium text-accent underline">
                  {harmless(item.title)}
                </Link>
              ) : (
                <span className="font-medium">{harmless(item.title)}</span>
              )}
            </span>
            <Status of={item.kind === 'approval' ? item.weight : item.weight === 'critical' ? 'alert' : 'notice'} />
            <Time at={item.at} className="text-sm text-muted" />
          </li>
        ))}
      </ul>
    </Panel>
  )
}

function Runs({ label, runs }: { label: string; runs: readonly Run[] }) {
  return (
    <Panel>
      <ul aria-label={label} className="divide-y divide-line">
        {runs.slice(0, SHOWN).map((run) => (
          <RunLine key={run.id} run={run} />
        ))}
      </ul>
      {runs.length > SHOWN && <p className="px-4 py-2 text-sm text-muted">and {runs.length - SHOWN} more</p>}
    </Panel>
  )
}

function RunLine({ run }: { run: Run }) {
  const to: string = `/runs/${run.id}`
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2.5">
      <span className="min-w-0 grow">
        <Link to={to} className="font-medium text-accent underline">
          {run.pipeline_id}
        </Link>
        {run.branch && <span className="text-sm text-muted"> on {harmless(run.branch)}</span>}
        {run.detail && <span className="block truncate text-sm text-muted">{harmless(run.detail)}</span>}
      </span>
      <Status of={run.status} />
      <Time at={run.ended_at ?? run.started_at ?? run.created_at} className="text-sm text-muted" />
    </li>
  )
}

/** How much of the budgets is used; nothing where there are none, or where the caller may not see them. */
function Budgets() {
  const may = useMay()
  const budgets = useQuery({
    queryKey: ['budgets'],
    queryFn: ({ signal }) => data(api.GET('/v1/budgets', { signal })),
    enabled: may('usage.read'),
    retry: false,
  })
  if (!budgets.data || budgets.data.items.length === 0) return null
  return (
    <Section title="Budgets">
      <BudgetMeters items={budgets.data.items} />
    </Section>
  )
}
