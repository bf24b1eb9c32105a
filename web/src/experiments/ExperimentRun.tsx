import { useQuery, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { METER_MS } from '../api/query'
import { useMay } from '../api/may'
import { Lineage } from '../lineage/Lineage'
import { Readers } from '../lineage/Readers'
import { RegisterFrom } from '../models/RegisterFrom'
import { Who } from '../shell/Who'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { short } from '../ui/curves'
import { Facts } from '../ui/Facts'
import { TextArea } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Tabs } from '../ui/Tabs'
import { duration, Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { Curves } from './Curves'
import { instantOf, isOpen } from './Experiment'
import { Files } from './Files'
import { Matrix } from './Matrix'
import { NoteOf } from './NoteOf'
import { Trials } from './Trials'
import { experimentRunRoute, RUN_TABS, type RunSearch } from './route'

export const Route = createLazyRoute('/experiment-runs/$id')({ component: ExperimentRun })

const TAB_WORDS = { trials: 'Trials', charts: 'Charts', params: 'Params and metrics', files: 'Files', lineage: 'Lineage', readers: 'Who read it' } as const
export type Shown = Schemas['ExperimentRunShown']

function ExperimentRun() {
  const { id } = experimentRunRoute.useParams()
  const found = useQuery({
    queryKey: ['experiments', 'run', id],
    queryFn: ({ signal }) => data(api.GET('/v1/experiment-runs/{id}', { params: { path: { id } }, signal })),
    refetchInterval: ({ state }) => (state.data && isOpen(state.data) ? METER_MS : false),
  })
  if (found.isPending) return <Page title="Run of an experiment"><Waiting /></Page>
  if (found.isError) return <Page title="Run of an experiment"><ProblemNote error={found.error} again={() => void found.refetch()} /></Page>
  return <Run run={found.data} />
}

function Run({ run }: { run: Shown }) {
  const search = experimentRunRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const put = (change: RunSearch) => void go({ to: '/experiment-runs/$id', params: { id: run.id }, search: { ...search, ...change }, replace: true })
  const audits = may('audit.read')
  const there = RUN_TABS.filter((one) => (one !== 'readers' || audits) && (one !== 'trials' || run.is_sweep))
  const tab = there.find((one) => one === search.tab) ?? there[0] ?? 'charts'
  const runs = useMemo(() => [{ id: run.id, name: run.name }], [run.id, run.name])
  const metrics = useMemo(() => Object.keys(run.metrics).sort(), [run.metrics])
  const tabs = there.map((one) => ({ id: one, label: TAB_WORDS[one] }))
  return (
    <Page
      title={harmless(run.name)}
      below={<Link to="/experiments/$id" params={{ id: run.experiment_id }} className="text-accent underline">The experiment</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos experiment show ${run.id}`, method: 'GET', path: `/v1/experiment-runs/${run.id}`, mcp: { name: 'getExperimentRun', arguments: { id: run.id } } }} />
          {may('registry.write') && <RegisterFrom run={run.id} />}
          {run.run_id && isOpen(run) && may('experiment.write') && <Cancel id={run.id} />}
        </>
      }
    >
      {run.state === 'deleted' && <Note tone="warn">This run was put away.</Note>}
      <div className="grid gap-5 lg:grid-cols-2">
        <Section title="How it stands"><About run={run} /></Section>
        <Section title="Note"><NoteOf run={run} /></Section>
      </div>
      <Tabs label="Of this run" tabs={tabs} value={tab} onChange={(next) => put({ tab: there.find((one) => one === next && one !== there[0]) })}>
        {tab === 'trials' && <Trials run={run} />}
        {tab === 'charts' && <Curves experiment={run.experiment_id} runs={runs} metrics={metrics} search={search} put={put} live={isOpen(run)} />}
        {tab === 'params' && <Values run={run} metrics={metrics} />}
        {tab === 'files' && <Files run={run} file={search.file} onFile={(file) => put({ file })} />}
        {tab === 'lineage' && <Lineage id={run.id} />}
        {tab === 'readers' && <Readers id={run.id} />}
      </Tabs>
    </Page>
  )
}

/** End a run that is carried out here. */
function Cancel({ id }: { id: string }) {
  const cache = useQueryClient()
  const [asking, setAsking] = useState(false)
  const [reason, setReason] = useState('')
  const cancel = async () => {
    await data(api.POST('/v1/experiment-runs/{id}/cancel', { params: { path: { id } }, body: { reason } }))
    await cache.invalidateQueries({ queryKey: ['experiments'] })
  }
  return (
    <>
      <Button look="danger" onClick={() => setAsking(true)}>Cancel</Button>
      <Confirm open={asking} danger onClose={() => setAsking(false)} title="Cancel this run?" act="Cancel it" run={cancel}>
        <p>What it runs is stopped with all its processes. What it logged stays.</p>
        <TextArea label="Why" value={reason} onChange={setReason} />
      </Confirm>
    </>
  )
}

function About({ run }: { run: Shown }) {
  const took = run.ended_at_ms === null ? null : run.ended_at_ms - run.started_at_ms
  return (
    <Facts
      label="The run"
      of={[
        ['Status', <Status key="status" of={run.status} />],
        ['Began', <Time key="began" at={instantOf(run.started_at_ms, run.created_at)} />],
        ['Took', took === null ? '' : took < 0 ? 'Its clock ran backwards.' : duration(took)],
        ['Carried out by', run.run_id && <Link key="run" to="/runs/$id" params={{ id: run.run_id }} className="text-accent underline">{run.run_id}</Link>],
        ['Vouched for', run.external ? 'No: it ran elsewhere and logged here.' : 'Data, code and runtime are those of the run.'],
        ['Dataset', run.dataset_ref && <Link key="data" to="/datasets/$id" params={{ id: run.dataset_ref }} className="text-accent underline">{harmless(run.dataset_ref)}</Link>],
        ['Code', run.code_sha && <code key="code" className="break-all">{harmless(run.code_sha)}</code>],
        ['Runtime', run.runtime],
        ['Read', run.inputs.length > 0 && <ul key="inputs">{run.inputs.slice(0, 50).map((one) => <li key={`${one.name} ${one.digest}`}><bdi>{shownLine(one.name, 200)}</bdi> <code className="text-sm text-muted">{shownLine(one.digest, 20)}</code></li>)}</ul>],
        ['Models', run.models.length > 0 && run.models.map(harmless).join(', ')],
        ['By', <Who key="by" id={run.created_by} />],
      ]}
    />
  )
}

/** Params, latest metrics and tags: there may be ten thousand of each. */
function Values({ run, metrics }: { run: Shown; metrics: readonly string[] }) {
  const tables: readonly (readonly [string, string, readonly string[], (key: string) => string])[] = [
    ['Params', 'Param', Object.keys(run.params).sort(), (key) => run.params[key] ?? ''],
    ['Metrics, the latest', 'Metric', metrics, (key) => short(run.metrics[key])],
    ['Tags', 'Tag', Object.keys(run.tags).filter((key) => key !== 'mlflow.note.content').sort(), (key) => run.tags[key] ?? ''],
  ]
  return (
    <div className="grid gap-5 lg:grid-cols-2 2xl:grid-cols-3">
      {tables.map(([title, corner, keys, value]) => (
        <Section key={title} title={`${title} (${keys.length.toLocaleString('en')})`}>
          {keys.length === 0 ? <p className="text-muted">None was logged.</p> : (
            <Matrix label={title} corner={corner} columns={[{ key: 'value', head: 'Value' }]} rows={keys.map((key) => ({ key, name: shownLine(key, 250), cells: [<bdi key="value" title={shownLine(value(key), 1000)}>{shownLine(value(key), 200)}</bdi>] }))} />
          )}
        </Section>
      ))}
    </div>
  )
}
