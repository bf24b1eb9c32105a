import { useInfiniteQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { cache } from '../api/query'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { EmptyState } from '../ui/EmptyState'
import { Select, TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table, type Column } from '../ui/Table'
import { duration, Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { isOver, took } from './data'
import { runsRoute, STATUSES, type RunsSearch, type RunStatus } from './route'

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
  { id: 'began', title: 'Began', width: '7rem', cell: (run) => <Time at={run.created_at} /> },
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
    <Page title="Runs" actions={<Bulk rows={rows.filter((run) => chosen.has(run.id))} onDone={() => setChosen(new Set())} />}>
      <Filters search={search} put={put} counts={list.data?.pages[0]?.counts ?? null} />
      {list.isPending ? (
        <Waiting />
      ) : list.isError ? (
        <ProblemNote error={list.error} again={() => void list.refetch()} />
      ) : rows.length === 0 ? (
        <EmptyState title={Object.keys(search).length > 0 ? 'No run is like this.' : 'Nothing has run yet.'} command="builderos run start feature_pipeline" />
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

const queryOf = (search: RunsSearch) => ({ ...(search.status ? { status: search.status } : {}), ...(search.open ? { open: true } : {}), ...(search.pipeline ? { pipeline: search.pipeline } : {}), ...(search.repo ? { repo_name: search.repo } : {}), ...(search.branch ? { branch: search.branch } : {}) })

const VIEWS: readonly (readonly [string, RunsSearch])[] = [['All', {}], ['Not over', { open: true }], ['Wait for approval', { status: 'waiting_approval' }], ['Failed', { status: 'failed' }]]

/** Filters that people want often; each is an address. */
function Views({ search, put }: { search: RunsSearch; put: (change: RunsSearch) => void }) {
  return (
    <div role="group" aria-label="Views" className="flex flex-wrap gap-1">
      {VIEWS.map(([name, view]) => (
        <Button key={name} small aria-pressed={search.status === view.status && search.open === view.open} look={search.status === view.status && search.open === view.open ? 'main' : 'plain'} onClick={() => put({ status: view.status, open: view.open })}>
          {name}
        </Button>
      ))}
    </div>
  )
}

function Filters({ search, put, counts }: { search: RunsSearch; put: (change: RunsSearch) => void; counts: Record<string, number> | null }) {
  const [pipeline, setPipeline] = useState(search.pipeline ?? '')
  const [branch, setBranch] = useState(search.branch ?? '')
  return (
    <form
      aria-label="Filters"
      className="flex flex-wrap items-end gap-3"
      onSubmit={(event) => {
        event.preventDefault()
        put({ pipeline: pipeline.trim(), branch: branch.trim() })
      }}
    >
      <Select label="Status" value={search.status ?? ''} onChange={(value) => put({ status: (value || undefined) as RunStatus | undefined })} options={[['', 'Any'], ...STATUSES.map((one) => [one, `${one.replaceAll('_', ' ')}${counts ? ` (${(counts[one] ?? 0).toLocaleString('en')})` : ''}`] as const)]} />
      <Views search={search} put={put} />
      <TextField label="Pipeline" value={pipeline} onChange={setPipeline} />
      <TextField label="Branch" value={branch} onChange={setBranch} />
      <Button type="submit">Show</Button>
      {Object.keys(search).length > 0 && (
        <Button
          look="quiet"
          onClick={() => {
            setPipeline('')
            setBranch('')
            put({ status: undefined, open: undefined, pipeline: undefined, branch: undefined, repo: undefined })
          }}
        >
          Show all
        </Button>
      )}
    </form>
  )
}

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
