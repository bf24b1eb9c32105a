import { createLazyRoute, useNavigate } from '@tanstack/react-router'
import { lazy, Suspense, useCallback, useMemo } from 'react'
import { useCommands } from '../shell/commands'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { Tabs, type Tab } from '../ui/Tabs'
import { Waiting } from '../ui/Waiting'
import { isOver, useRun, type Step, type View } from './data'
import { Actions, Facts } from './Header'
import { isBad } from './layout'
import { runRoute, type RunSearch, type RunTab } from './route'
import { StepLine } from './StepLine'
import { Timeline } from './Timeline'
import { Waits } from './Waits'

export const Route = createLazyRoute('/runs/$id')({ component: Run })

const PANES = {
  diff: lazy(() => import('./DiffTab')),
  logs: lazy(() => import('./LogsTab')),
  artifacts: lazy(() => import('./ArtifactsTab')),
  provenance: lazy(() => import('./ProvenanceTab')),
  policy: lazy(() => import('./PolicyTab')),
  evals: lazy(() => import('./EvalsTab')),
  agent: lazy(() => import('./AgentTab')),
}

/** What a tab of the page is about. */
export interface Pane {
  id: string
  view: View
  steps: readonly Step[]
  /** The chosen step; none: the whole run. */
  step: Step | undefined
  search: RunSearch
  put: (search: Partial<RunSearch>) => void
}

function Run() {
  const { id } = runRoute.useParams()
  const search = runRoute.useSearch()
  const navigate = useNavigate({ from: '/runs/$id' })
  const run = useRun(id)
  const put = useCallback((change: Partial<RunSearch>) => void navigate({ search: (was) => clean({ ...was, ...change }), replace: true, resetScroll: false }), [navigate])
  const step = search.step === undefined ? undefined : run.steps.find((one) => one.name === search.step || one.id === search.step)
  const view = run.view
  const tab = search.tab ?? firstTab(view, step)
  useTabKeys(put)
  if (!view)
    return (
      <Page title="Run" below={id}>
        {run.error ? <ProblemNote error={run.error} again={run.again} /> : <Waiting />}
      </Page>
    )
  const Body = PANES[tab]
  const choose = (one: Step) => put({ step: one.name, file: undefined, side: undefined, line: undefined })
  return (
    <Page title={view.run.pipeline_id} tab={`${view.run.pipeline_id}, ${view.run.status.replaceAll('_', ' ')}`} below={<Facts id={id} view={view} steps={run.steps} />} actions={<Actions id={id} view={view} step={step} />}>
      <Waits id={id} view={view} />
      <Timeline steps={run.steps} total={view.timeline.total} over={isOver(view.run.status)} chosen={step} onChoose={choose} />
      <StepLine view={view} step={step} onClear={() => put({ step: undefined, line: undefined, file: undefined })} onChoose={(name) => put({ step: name })} />
      <Tabs label="What the run did" tabs={tabsOf(view, run.steps)} value={tab} onChange={(next) => put({ tab: next as RunTab, file: undefined, side: undefined, line: undefined, find: undefined })}>
        <Suspense fallback={<div className="h-[60vh]"><Waiting /></div>}>
          <Body id={id} view={view} steps={run.steps} step={step} search={search} put={put} />
        </Suspense>
      </Tabs>
    </Page>
  )
}

const clean = (search: RunSearch): RunSearch => Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined)) as RunSearch

/** What somebody wants to see first: why it failed, else what it changed, else what it prints. */
function firstTab(view: View | undefined, step: Step | undefined): RunTab {
  if (!view) return 'diff'
  if (view.run.trigger.type === 'replay') return 'provenance'
  if (step) return isBad(step.status) || step.logs_ref ? 'logs' : 'diff'
  if (view.gates?.some((gate) => gate.state === 'waiting' && gate.kind === 'approval')) return 'diff'
  return view.run.status === 'failed' || (view.diff?.files_total ?? 0) === 0 ? 'logs' : 'diff'
}

function tabsOf(view: View, steps: readonly Step[]): Tab[] {
  const tabs: Tab[] = [
    { id: 'diff', label: 'Diff', count: view.diff?.files_total },
    { id: 'logs', label: 'Logs' },
    { id: 'artifacts', label: 'Artifacts' },
    { id: 'provenance', label: 'Provenance' },
    { id: 'policy', label: 'Policy' },
  ]
  if (view.run.kind === 'eval' || steps.some((one) => 'suite' in one.result || 'suites' in one.result)) tabs.push({ id: 'evals', label: 'Evals' })
  if (steps.some((one) => one.agent_id !== null)) tabs.push({ id: 'agent', label: 'Agent' })
  return tabs
}

const KEYED: readonly [RunTab, string, string][] = [['diff', 'Diff', '1'], ['logs', 'Logs', '2'], ['artifacts', 'Artifacts', '3'], ['provenance', 'Provenance', '4'], ['policy', 'Policy', '5']]

function useTabKeys(put: Pane['put']): void {
  useCommands(useMemo(() => KEYED.map(([tab, label, keys]) => ({ id: `run-${tab}`, label: `Show ${label.toLowerCase()}`, group: 'This run', keys, run: () => put({ tab }) })), [put]))
}
