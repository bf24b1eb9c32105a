import { useInfiniteQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { cache } from '../api/query'
import { Button, buttonClass } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table, type Column } from '../ui/Table'
import { duration, Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { isOver, took } from './data'
import { Filters, Views } from './Filters'
import { runsRoute, type RunsSearch, type RunStatus } from './route'

export const Route = createLazyRoute('/runs')({ component: Runs })

type Row = Schemas['RunRow']
const PAGE = 100

const COLUMNS: readonly Column<Row>[] = [
  { id: 'status', title: 'Status', width: '11rem', cell: (run) => <Status of={run.status} /> },
  {
    id: 'pipeline',
    title: 'Run',
    width: 'minmax(9rem, 2fr)',
    cell: (run) => (
      <Link to="/runs/$id" params={{ id: run.id }} className="font-medium text-accent underline">
        <bdi>{harmless(run.pipeline_id)}</bdi>
      </Link>
    ),
  },
  { id: 'steps', title: 'Steps', width: '11rem', cell: (run) => <Mini run={run} /> },
  { id: 'branch', title: 'Branch', width: 'minmax(9rem, 1.5fr)', cell: (run) => <bdi>{harmless(run.branch ? `${run.repo_name} / ${run.branch}` : '')}</bdi> },
  { id: 'detail', title: 'Why', width: 'minmax(6rem, 1fr)', cell: (run) => <span title={harmless(run.detail)}>{harmless(run.detail || String(run.trigger.type ?? '')).slice(0, 200)}</span> },
  { id: 'began', title: 'Began', width: '9rem', cell: (run) => <Time at={run.created_at} /> },
  { id: 'took', title: 'Took', width: '7rem', align: 'right', cell: (run) => (run.ended_at ? duration(took(run.started_at ?? run.created_at, run.ended_at, 0)) : '') },
]

function Runs() {
  const search = runsRoute.useSearch()
  const navigate = useNavigate({ from: '/runs' })
  const go = useNavigate()
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const put = (change: RunsSearch) => void navigate({ search: (was) => Object.fromEntries(Object.entries({ ...was, ...change }).filter(([, value]) => value)) as RunsSearch, replace: true })
  const list = useInfiniteQuery({
    queryKey: ['runs', search],
    queryFn: ({ signal, pageParam }) => data(api.GET('/v1/runs', { params: { query: { ...queryOf(search), limit: PAGE, brief: true, counts: !pageParam, ...(pageParam ? { cursor: pageParam } : {}) } }, signal })),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
  })
  const rows = list.data?.pages.flatMap((page) => page.items) ?? []
  return (
    <Page title="Runs" actions={
        <>
          <Bulk rows={rows.filter((run) => chosen.has(run.id))} onDone={() => setChosen(new Set())} />
          <CopyAs call={{ cli: typed(search), method: 'GET', path: `/v1/runs?${new URLSearchParams(words(queryOf(search))).toString()}`, mcp: { name: 'listRuns', arguments: { ...queryOf(search) } } }} />
        </>
      }
    >
      <Views search={search} />
      <Filters key={`${search.pipeline ?? ''} ${search.branch ?? ''}`} search={search} put={put} counts={list.data?.pages[0]?.counts ?? null} />
      {list.isPending ? (
        <Waiting />
      ) : list.isError ? (
        <ProblemNote error={list.error} again={() => void list.refetch()} />
      ) : rows.length === 0 ? (
        <EmptyState title={Object.keys(search).length > 0 ? 'No run is like this.' : 'Nothing has run yet.'} command={Object.keys(search).length > 0 ? 'builderos run list' : 'builderos run start feature_pipeline'} />
      ) : (
        <Table
          label="Runs"
          rows={rows}
          columns={COLUMNS}
          keyOf={(run) => run.id}
          onOpen={(run) => void go({ to: '/runs/$id', params: { id: run.id } })}
          chosen={chosen}
          onChoose={setChosen}
          more={list.hasNextPage}
          onEnd={() => !list.isFetchingNextPage && void list.fetchNextPage()}
        />
      )}
    </Page>
  )
}

const quoted = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`)

/** The list as the command line asks for it; what is not over only the plain call can ask for. */
function typed(search: RunsSearch): string {
  const { open, repo_name: repo, ...rest } = queryOf(search)
  const given = Object.entries({ ...rest, ...(repo ? { [open ? 'repo_name' : 'repo']: repo } : {}) })
  if (open) return ['builderos api listRuns -f open=true', ...given.map(([name, value]) => `-f ${quoted(`${name}=${value}`)}`)].join(' ')
  return ['builderos run list', ...given.map(([name, value]) => `--${name} ${quoted(value)}`)].join(' ')
}

const words = (query: Asked) => Object.entries({ ...query, limit: PAGE }).map(([name, value]) => [name, String(value)])

interface Asked {
  status?: RunStatus
  open?: true
  pipeline?: string
  repo_name?: string
  branch?: string
}

const queryOf = (search: RunsSearch): Asked => ({ ...(search.status ? { status: search.status } : {}), ...(search.open ? { open: true as const } : {}), ...(search.pipeline ? { pipeline: search.pipeline } : {}), ...(search.repo ? { repo_name: search.repo } : {}), ...(search.branch ? { branch: search.branch } : {}) })

const INK: Record<string, string> = { succeeded: 'fill-good', cached: 'fill-good', failed: 'fill-bad', denied: 'fill-bad', timed_out: 'fill-bad', running: 'fill-accent', retrying: 'fill-warn', waiting_approval: 'fill-warn', waiting_input: 'fill-warn' }
const MINI_PX = 90

/** The first steps of a run over time, and how many there are. */
function Mini({ run }: { run: Row }) {
  if (!run.steps) return null
  const now = Date.now()
  const spans = (run.spans ?? []).filter((one) => one.start !== null)
  const from = Math.min(...spans.map((one) => Date.parse(one.start ?? '')))
  const until = Math.max(from + 1, ...spans.map((one) => (one.end === null ? now : Date.parse(one.end))))
  const lanes = [...new Set(spans.map((one) => one.lane))].slice(0, 4)
  const x = (at: number) => ((at - from) / (until - from)) * (MINI_PX - 3)
  const said = run.steps.failed > 0 ? `${run.steps.failed} of ${run.steps.total} failed` : `${run.steps.total - run.steps.open} of ${run.steps.total}`
  return (
    <span className="flex items-center gap-2">
      <svg aria-hidden="true" width={MINI_PX} height={18}>
        {spans.map((one, n) => {
          const begin = Date.parse(one.start ?? '')
          const lane = Math.max(0, lanes.indexOf(one.lane))
          return <rect key={n} x={x(begin)} width={Math.max(2, x(one.end === null ? now : Date.parse(one.end)) - x(begin))} y={1 + (lane * 16) / Math.max(1, lanes.length)} height={Math.max(3, 15 / Math.max(1, lanes.length))} className={INK[one.status] ?? 'fill-edge'} />
        })}
      </svg>
      <span className={`text-sm ${run.steps.failed > 0 ? 'text-bad' : 'text-muted'}`}>{said}</span>
    </span>
  )
}

/** Acts on the chosen runs, one after the other; what could not be done is told. */
function Bulk({ rows, onDone }: { rows: readonly Row[]; onDone: () => void }) {
  const may = useMay()
  const [ask, setAsk] = useState<'cancel' | 'rerun' | null>(null)
  const open = rows.filter((run) => !isOver(run.status))
  const over = rows.filter((run) => isOver(run.status))
  const each = async (of: readonly Row[], act: (id: string) => Promise<unknown>, said: string) => {
    const failed: string[] = []
    for (const run of of) await act(run.id).catch((error: unknown) => failed.push(error instanceof Error ? error.message : ''))
    void cache.invalidateQueries({ queryKey: ['runs'] })
    onDone()
    if (failed.length > 0) toast(`${failed.length} of ${of.length} could not be done: ${failed[0]}`, { tone: 'bad' })
    else toast(said)
  }
  return (
    <>
      {rows.length === 2 && (
        <Link to="/runs/compare" search={{ a: rows[1]?.id, b: rows[0]?.id }} className={buttonClass()}>
          Compare
        </Link>
      )}
      {may('run.control') && open.length > 0 && (
        <Button look="danger" onClick={() => setAsk('cancel')}>
          Cancel {open.length}
        </Button>
      )}
      {may('run.start') && over.length > 0 && <Button onClick={() => setAsk('rerun')}>Rerun {over.length}</Button>}
      <Confirm open={ask === 'cancel'} onClose={() => setAsk(null)} title={`Cancel ${open.length} runs?`} act="Cancel them" danger run={() => each(open, (id) => data(api.POST('/v1/runs/{id}/cancel', { params: { path: { id } }, body: { reason: '' } })), 'Cancelled.')}>
        <p>What they run is stopped with all its processes. They can be run again.</p>
      </Confirm>
      <Confirm open={ask === 'rerun'} onClose={() => setAsk(null)} title={`Run ${over.length} again?`} act="Rerun them" run={() => each(over, (id) => data(api.POST('/v1/runs/{id}/rerun', { params: { path: { id } }, body: {} })), 'They run again.')}>
        <p>Each becomes a new run with the same inputs.</p>
      </Confirm>
    </>
  )
}
