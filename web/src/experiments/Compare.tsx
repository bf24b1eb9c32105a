import { useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useMemo } from 'react'
import { api, data, type Schemas } from '../api/client'
import { METER_MS } from '../api/query'
import { IconButton } from '../ui/Button'
import { Copy } from '../ui/Copy'
import { CopyAs } from '../ui/CopyAs'
import { short } from '../ui/curves'
import { EmptyState } from '../ui/EmptyState'
import { Checkbox } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Tabs } from '../ui/Tabs'
import { duration } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { bytes } from '../runs/ArtifactsTab'
import { Curves } from './Curves'
import { isOpen } from './Experiment'
import { Matrix } from './Matrix'
import { sideBySideRoute, COMPARE_TABS, type CompareSearch } from './route'

export const Route = createLazyRoute('/experiments/$id/compare')({ component: Compare })

type Comparison = Omit<Schemas['builderos__workloads__experiments__schema__Comparison'], 'series'>
const TAB_WORDS = { charts: 'Charts', params: 'Params', metrics: 'Metrics', files: 'Files' } as const

function Compare() {
  const { id } = sideBySideRoute.useParams()
  const { runs } = sideBySideRoute.useSearch()
  const wanted = (runs ?? []).join(',')
  const found = useQuery({
    queryKey: ['experiments', id, 'compare', wanted],
    queryFn: ({ signal }) => data(api.GET('/v1/experiments/{id}/compare', { params: { path: { id }, query: { runs: wanted } }, signal })),
    enabled: wanted !== '',
    refetchInterval: ({ state }) => (state.data?.runs.some(isOpen) ? METER_MS : false),
  })
  const back = <Link to="/experiments/$id" params={{ id }} className="text-accent underline">The experiment</Link>
  if (wanted === '') return <Page title="Compare runs" below={back}><EmptyState title="No runs are chosen." command={`builderos experiment runs ${id}`} /></Page>
  if (found.isPending) return <Page title="Compare runs" below={back}><Waiting /></Page>
  if (found.isError) return <Page title="Compare runs" below={back}><ProblemNote error={found.error} again={() => void found.refetch()} /></Page>
  return <Shown id={id} of={found.data} />
}

function Shown({ id, of }: { id: string; of: Comparison }) {
  const search = sideBySideRoute.useSearch()
  const go = useNavigate()
  const put = (change: CompareSearch) => void go({ to: '/experiments/$id/compare', params: { id }, search: { ...search, ...change }, replace: true })
  const tab = search.tab ?? 'charts'
  const ids = of.runs.map((run) => run.id)
  const metrics = useMemo(() => of.metrics.map((one) => one.key), [of.metrics])
  const differing = of.params.filter((one) => one.differs)
  const heads = of.runs.map((run) => ({
    key: run.id,
    head: (
      <span className="flex items-center">
        <Link to="/experiment-runs/$id" params={{ id: run.id }} title={harmless(run.name)} className="truncate text-accent underline"><bdi>{harmless(run.name)}</bdi></Link>
        {of.runs.length > 1 && <IconButton icon="close" label={`Leave out ${harmless(run.name)}`} className="-my-2 size-7!" onClick={() => put({ runs: ids.filter((one) => one !== run.id) })} />}
      </span>
    ),
  }))
  return (
    <Page
      title={`Compare ${of.runs.length} runs`}
      below={<Link to="/experiments/$id" params={{ id }} className="text-accent underline">The experiment</Link>}
      actions={
        <>
          <Copy text={location.href} label="Copy the link" small={false} />
          <CopyAs call={{ cli: `builderos experiment compare ${id} ${ids.join(' ')}`, method: 'GET', path: `/v1/experiments/${id}/compare?runs=${ids.join(',')}`, mcp: { name: 'compareExperimentRuns', arguments: { id, runs: ids.join(',') } } }} />
        </>
      }
    >
      <Tabs label="What is compared" tabs={COMPARE_TABS.map((one) => ({ id: one, label: TAB_WORDS[one], count: { charts: metrics.length, params: differing.length, metrics: metrics.length, files: of.files.length }[one] }))} value={tab} onChange={(next) => put({ tab: COMPARE_TABS.find((one) => one === next && one !== 'charts') })}>
        {tab === 'charts' && <Curves experiment={id} runs={of.runs} metrics={metrics} search={search} put={put} live={of.runs.some(isOpen)} />}
        {tab === 'params' && <Params of={of} heads={heads} all={search.all ?? false} onAll={(all) => put({ all: all ? true : undefined })} />}
        {tab === 'metrics' && (metrics.length === 0 ? <p className="text-muted">No metric was logged.</p> : <Matrix label="Metrics side by side" corner="Metric" columns={heads} rows={of.metrics.map((one) => ({ key: one.key, name: harmless(one.key), cells: one.values.map((value, n) => <Measured key={n} value={value} one={one} />) }))} />)}
        {tab === 'files' && (of.files.length === 0 ? <p className="text-muted">These runs kept no files.</p> : <Matrix label="Files side by side" corner="File" columns={heads} rows={of.files.map((one) => ({ key: one.path, name: harmless(one.path), cells: one.artifacts.map((artifact, n) => artifact && <Link key={n} to="/experiment-runs/$id" params={{ id: ids[n] ?? '' }} search={{ tab: 'files', file: one.path }} className="text-accent underline">{bytes(one.sizes[n] ?? 0)}{same(one.artifacts, n) ? ', the same' : ''}</Link>) }))} />)}
      </Tabs>
    </Page>
  )
}

/** Whether an earlier run has the very same file: artifacts are known by their content. */
const same = (all: readonly (string | null)[], n: number): boolean => all.indexOf(all[n] ?? null) < n

/** A value; the greatest and the least of the row are told apart by word and weight. */
function Measured({ value, one }: { value: Comparison['metrics'][number]['values'][number]; one: Comparison['metrics'][number] }) {
  const told = one.least === one.greatest ? '' : value === one.greatest ? 'greatest' : value === one.least ? 'least' : ''
  return (
    <span className={told ? 'font-medium' : ''}>
      {short(value)}
      {told && <span className="text-muted"> {told}</span>}
    </span>
  )
}

interface ParamsProps {
  of: Comparison
  heads: { key: string; head: React.ReactNode }[]
  all: boolean
  onAll: (all: boolean) => void
}

function Params({ of, heads, all, onAll }: ParamsProps) {
  const facts = factsOf(of)
  const params = of.params.filter((one) => all || one.differs)
  const rows = [
    ...facts.filter((fact) => all || new Set(fact.words).size > 1 || fact.key === 'status').map((fact) => ({ key: `of ${fact.key}`, name: fact.name, cells: fact.words.map((word, n) => (fact.key === 'status' ? <Status key={n} of={word} /> : <bdi key={n}>{shownLine(word, 80)}</bdi>)) })),
    ...params.map((one) => ({ key: `param ${one.key}`, name: harmless(one.key), marked: one.differs, cells: one.values.map((value, n) => (value === null ? <span key={n} className="text-muted">none</span> : <bdi key={n} title={shownLine(value, 400)}>{shownLine(value, 100)}</bdi>)) })),
  ]
  return (
    <div className="flex flex-col gap-3">
      <Checkbox label={`Those that are alike, too (${of.params.length - of.params.filter((one) => one.differs).length})`} checked={all} onChange={onAll} />
      {params.length === 0 && <p className="text-muted">{of.params.length === 0 ? 'No param was logged.' : 'All params are alike.'}</p>}
      <Matrix label="Params side by side" corner="Param" columns={heads} rows={rows} />
    </div>
  )
}

const factsOf = (of: Comparison): { key: string; name: string; words: string[] }[] => [
  { key: 'status', name: 'Status', words: of.runs.map((run) => run.status) },
  { key: 'took', name: 'Took', words: of.runs.map((run) => (run.duration_ms === null ? '' : duration(run.duration_ms))) },
  { key: 'dataset', name: 'Dataset', words: of.runs.map((run) => run.dataset_ref ?? '') },
  { key: 'code', name: 'Code', words: of.runs.map((run) => run.code_sha?.slice(0, 10) ?? '') },
  { key: 'runtime', name: 'Runtime', words: of.runs.map((run) => run.runtime ?? '') },
]
