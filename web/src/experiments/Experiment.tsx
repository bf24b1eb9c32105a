import { keepPreviousData, useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { METER_MS } from '../api/query'
import { useMay } from '../api/may'
import { Button, buttonClass } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { TextField } from '../ui/Field'
import { Icon } from '../ui/Icon'
import { Menu } from '../ui/Menu'
import { Note, ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { short } from '../ui/curves'
import { Status } from '../ui/Status'
import { Table, type Column } from '../ui/Table'
import { duration, Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { Columns } from './Columns'
import { Filter } from './Filter'
import { Submit } from './Submit'
import { asked, firstOf, keyOf, keysOf, sortedBy, turned, valueOf, written, type Key, type Run } from './keys'
import { experimentRoute, MOST_RUNS, type RunsSearch } from './route'

export const Route = createLazyRoute('/experiments/$id')({ component: Experiment })

const PAGE = 100

function Experiment() {
  const { id } = experimentRoute.useParams()
  const found = useQuery({ queryKey: ['experiments', id], queryFn: ({ signal }) => data(api.GET('/v1/experiments/{id}', { params: { path: { id } }, signal })) })
  if (found.isPending) return <Page title="Experiment"><Waiting /></Page>
  if (found.isError) return <Page title="Experiment"><ProblemNote error={found.error} again={() => void found.refetch()} /></Page>
  return <Shown one={found.data} />
}

function Shown({ one }: { one: Schemas['Experiment'] }) {
  const search = experimentRoute.useSearch()
  const go = useNavigate()
  const may = useMay(one.project_id ?? undefined)
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const [running, setRunning] = useState<'run' | 'search' | null>(null)
  const query = { filter: search.filter ?? '', order_by: search.order ?? '', state: search.state ?? ('active' as const) }
  const put = (change: RunsSearch) => void go({ to: '/experiments/$id', params: { id: one.id }, search: { ...search, ...change }, replace: true })
  const list = useInfiniteQuery({
    queryKey: ['experiments', one.id, 'runs', query, 'pages'],
    queryFn: ({ pageParam, signal }) => data(api.GET('/v1/experiments/{id}/runs', { params: { path: { id: one.id }, query: { ...query, limit: PAGE, cursor: pageParam || null } }, signal })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
    // Metrics of what still runs are no events; many pages are not asked for again and again.
    refetchInterval: ({ state }) => (state.data && state.data.pages.length < 3 && state.data.pages.some((page) => page.items.some(isOpen)) ? METER_MS : false),
  })
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data])
  const keys = useMemo(() => keysOf(rows), [rows])
  const shown = useMemo(() => search.cols?.flatMap((text) => keyOf(text) ?? []) ?? firstOf(keys, rows.slice(0, PAGE)), [search.cols, keys, rows])
  const compare = [...chosen].slice(0, MOST_RUNS)
  return (
    <Page
      title={harmless(one.name)}
      below={<Link to="/experiments" className="text-accent underline">All experiments</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos experiment runs ${one.id}`, method: 'GET', path: `/v1/experiments/${one.id}/runs?${new URLSearchParams(query).toString()}`, mcp: { name: 'searchExperimentRuns', arguments: { id: one.id, ...query } } }} />
          <Columns keys={keys} shown={shown} onChange={(cols) => put({ cols: cols?.map(written) })} />
          <Acts one={one} chosen={compare} can={may('experiment.write')} />
          {may('experiment.write') && one.state === 'active' && <Button icon="runs" onClick={() => setRunning('run')}>Run</Button>}
          {may('experiment.write') && one.state === 'active' && <Button icon="search" onClick={() => setRunning('search')}>Search params</Button>}
          <Button look="main" disabled={chosen.size < 2} onClick={() => void go({ to: '/experiments/$id/compare', params: { id: one.id }, search: { runs: compare } })}>
            {chosen.size < 2 ? 'Compare' : `Compare ${compare.length}`}
          </Button>
        </>
      }
    >
      {one.state === 'deleted' && <Note tone="warn">This experiment was put away, with its runs.</Note>}
      <Filter key={`${search.filter ?? ''} ${search.state ?? ''}`} search={search} keys={keys} error={list.error} put={put} />
      {running && <Submit key={running} experiment={one.id} kind={running} onClose={() => setRunning(null)} />}
      {list.isPending ? <Waiting /> : list.isError ? null : rows.length === 0 ? (
        <EmptyState title={search.filter ? 'No run is like this.' : 'No run was logged yet.'} command={`builderos api openExperimentRun -f id=${one.id}`} />
      ) : (
        <Table
          label="Runs of the experiment"
          rows={rows}
          columns={columnsOf(shown, search.order, (order) => put({ order }))}
          keyOf={(run) => run.id}
          onOpen={(run) => void go({ to: '/experiment-runs/$id', params: { id: run.id } })}
          chosen={chosen}
          onChoose={setChosen}
          more={list.hasNextPage}
          onEnd={() => !list.isFetchingNextPage && void list.fetchNextPage()}
        />
      )}
    </Page>
  )
}

export const isOpen = (run: { status: Run['status'] }): boolean => run.status === 'running' || run.status === 'scheduled'

function columnsOf(shown: readonly Key[], order: string | undefined, sort: (order: string | undefined) => void): Column<Run>[] {
  const by = (key: string | null) => (key === null ? {} : { sorted: sortedBy(order, key), onSort: () => sort(turned(order, key)) })
  return [
    { id: 'status', title: 'Status', width: '9rem', cell: (run) => <Status of={run.state === 'deleted' ? 'deleted' : run.status} />, ...by('status') },
    { id: 'name', title: 'Run', width: 'minmax(12rem, 2fr)', cell: (run) => <><Link to="/experiment-runs/$id" params={{ id: run.id }} className="font-medium text-accent underline"><bdi>{harmless(run.name)}</bdi></Link>{run.is_sweep && <span className="text-muted"> search</span>}</>, ...by('run_name') },
    ...shown.map((key): Column<Run> => ({
      id: written(key),
      title: harmless(key.name).slice(0, 80),
      width: 'minmax(7.5rem, 1fr)',
      ...(key.kind === 'metrics' ? { align: 'right' as const } : {}),
      cell: (run) => {
        const value = valueOf(run, key)
        return key.kind === 'metrics' ? short(value as Run['metrics'][string]) : <bdi title={shownLine(String(value ?? ''), 300)}>{shownLine(String(value ?? ''), 200)}</bdi>
      },
      ...by(asked(key)),
    })),
    { id: 'took', title: 'Took', width: '7rem', align: 'right', cell: (run) => (run.ended_at_ms !== null && run.ended_at_ms >= run.started_at_ms ? duration(run.ended_at_ms - run.started_at_ms) : '') },
    { id: 'began', title: 'Began', width: '9rem', cell: (run) => <Time at={instantOf(run.started_at_ms, run.created_at)} />, ...by('start_time') },
  ]
}

/** The zip of some runs, or of all. */
const exportOf = (id: string, runs: readonly string[]): string => `/v1/experiments/${encodeURIComponent(id)}/export${runs.length > 0 ? `?runs=${runs.join(',')}` : ''}`

/** Let the browser fetch a file; a refusal leaves the page where it is. */
function fetched(url: string): void {
  const link = document.createElement('a')
  link.href = url
  link.download = ''
  link.click()
}

const LATEST_MS = 8.64e15

/** A clock of elsewhere may say anything: what is no instant of a calendar is shown as when it came here. */
export const instantOf = (ms: number, otherwise: string): string => (Math.abs(ms) <= LATEST_MS ? new Date(ms).toISOString() : otherwise)

/** Give out, rename, put away, get back. */
function Acts({ one, chosen, can }: { one: Schemas['Experiment']; chosen: readonly string[]; can: boolean }) {
  const cache = useQueryClient()
  const [ask, setAsk] = useState<'rename' | 'delete' | null>(null)
  const [name, setName] = useState(one.name)
  const change = async (body: { name?: string; state?: 'active' | 'deleted' }, said: string) => {
    await data(api.POST('/v1/experiments/{id}', { params: { path: { id: one.id } }, body }))
    await cache.invalidateQueries({ queryKey: ['experiments'] })
    toast(said)
  }
  return (
    <>
      <Menu
        label="More"
        align="end"
        className={buttonClass()}
        button={<>More <Icon name="down" /></>}
        items={[
          { label: chosen.length > 0 ? `Export ${chosen.length} runs` : 'Export', icon: 'download', below: 'A zip with every point and file, for Import', run: () => fetched(exportOf(one.id, chosen)) },
          ...(can ? [{ label: 'Rename', run: () => setAsk('rename') }] : []),
          ...(can && one.state === 'active' ? [{ label: 'Put away', run: () => setAsk('delete') }] : []),
          ...(can && one.state === 'deleted' ? [{ label: 'Get it back', icon: 'undo' as const, run: () => void change({ state: 'active' }, 'It is back.') }] : []),
        ]}
      />
      {ask === 'rename' && (
        <Confirm open onClose={() => setAsk(null)} title="Rename the experiment" act="Rename" run={() => change({ name: name.trim() }, 'Renamed.')}>
          <TextField label="Name" value={name} onChange={setName} />
        </Confirm>
      )}
      <Confirm open={ask === 'delete'} onClose={() => setAsk(null)} title="Put this experiment away?" act="Put it away" run={() => change({ state: 'deleted' }, 'Put away.')}>
        <p>It and its runs are no longer listed. They can be got back.</p>
      </Confirm>
    </>
  )
}
