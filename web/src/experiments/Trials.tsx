import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { METER_MS } from '../api/query'
import { CopyAs } from '../ui/CopyAs'
import { short } from '../ui/curves'
import { Facts } from '../ui/Facts'
import { ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table, type Column } from '../ui/Table'
import { Waiting } from '../ui/Waiting'
import { Button } from '../ui/Button'
import { isOpen } from './Experiment'
import type { Shown } from './ExperimentRun'
import { Parallel } from './Parallel'
import { MOST_RUNS } from './route'

type Sweep = Schemas['Sweep']
type Trial = Sweep['trials'][number]
const METHODS: Record<string, string> = { grid: 'All combinations', random: 'Some, by chance' }

/** How a search stands: its trials, the best first. */
export function Trials({ run }: { run: Shown }) {
  const found = useQuery({
    queryKey: ['experiments', 'run', run.id, 'sweep'],
    queryFn: ({ signal }) => data(api.GET('/v1/experiment-runs/{id}/sweep', { params: { path: { id: run.id } }, signal })),
    refetchInterval: isOpen(run) ? METER_MS : false,
  })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  return <Known run={run} of={found.data} />
}

function Known({ run, of }: { run: Shown; of: Sweep }) {
  const [chosen, setChosen] = useState<string | null>(null)
  const names = useMemo(() => varying(of.trials), [of.trials])
  const goal = `${of.goal.metric}, the ${of.goal.mode === 'max' ? 'greatest' : 'least'} is best`
  const axes = [...names.map((name) => ({ name, values: of.trials.map((trial) => trial.params[name] ?? null) })), { name: of.goal.metric, values: of.trials.map((trial) => trial.value) }]
  const here = Math.max(0, of.trials.findIndex((trial) => trial.id === chosen))
  const ids = of.trials.slice(0, MOST_RUNS).map((trial) => trial.id)
  return (
    <div className="flex flex-col gap-4">
      <div className="flex flex-wrap items-start justify-between gap-3">
        <Facts
          label="The search"
          of={[
            ['Looks for', harmless(goal)],
            ['Best', of.best && <span key="best"><Link to="/experiment-runs/$id" params={{ id: of.best.id }} className="font-medium text-accent underline">{short(of.best.value)}</Link> with {paramsSaid(of.best, names)}</span>],
            ['Trials', Object.entries(of.counts).map(([status, count]) => `${count.toLocaleString('en')} ${status}`).join(', ')],
            ['How', `${METHODS[of.method] ?? of.method}, ${of.parallel} at once${of.method === 'random' ? `, seed ${of.seed}` : ''}`],
          ]}
        />
        <span className="flex flex-wrap gap-2">
          {ids.length > 1 && <Link to="/experiments/$id/compare" params={{ id: run.experiment_id }} search={{ runs: ids }} className="text-accent underline">{ids.length === of.trials.length ? 'Compare all trials' : `Compare the best ${ids.length}`}</Link>}
          <CopyAs call={{ cli: `builderos experiment trials ${run.id}`, method: 'GET', path: `/v1/experiment-runs/${run.id}/sweep`, mcp: { name: 'getExperimentSweep', arguments: { id: run.id } } }} />
        </span>
      </div>
      {names.length > 0 && of.trials.some((trial) => trial.value !== null) && <Parallel label={`Params and ${harmless(of.goal.metric)}`} axes={axes} lines={of.trials.map((trial) => trial.name)} chosen={here} onChoose={(line) => setChosen(of.trials[line]?.id ?? null)} />}
      <Table label="Trials, the best first" rows={of.trials} keyOf={(trial) => trial.id} columns={columnsOf(of, names, of.trials[here]?.id, setChosen)} className="max-h-[60vh]" />
    </div>
  )
}

/** Params that not all trials have alike. */
const varying = (trials: readonly Trial[]): string[] => {
  const names = [...new Set(trials.flatMap((trial) => Object.keys(trial.params)))].sort()
  return names.filter((name) => new Set(trials.map((trial) => JSON.stringify(trial.params[name] ?? null))).size > 1).slice(0, 12)
}

const paramsSaid = (trial: Trial, names: readonly string[]): string => names.map((name) => `${harmless(name)} ${shownLine(String(trial.params[name] ?? 'none'), 40)}`).join(', ')

function columnsOf(of: Sweep, names: readonly string[], chosen: string | undefined, onChoose: (id: string) => void): Column<Trial>[] {
  return [
    { id: 'name', title: 'Trial', width: 'minmax(10rem, 2fr)', cell: (trial) => <Link to="/experiment-runs/$id" params={{ id: trial.id }} className="font-medium text-accent underline"><bdi>{harmless(trial.name)}</bdi></Link> },
    { id: 'status', title: 'Status', width: '10rem', cell: (trial) => <Status of={trial.stopped_early ? 'given_up' : trial.status} /> },
    { id: 'value', title: harmless(of.goal.metric), width: '8rem', align: 'right', cell: (trial) => short(trial.value) },
    ...names.map((name): Column<Trial> => ({ id: `param ${name}`, title: harmless(name), width: 'minmax(7rem, 1fr)', align: 'right', cell: (trial) => <bdi>{shownLine(String(trial.params[name] ?? ''), 60)}</bdi> })),
    { id: 'show', title: 'In the chart', width: '8rem', cell: (trial) => <Button small aria-pressed={trial.id === chosen} aria-label={`Show ${harmless(trial.name)} in the chart`} onClick={() => onChoose(trial.id)}>Show</Button> },
  ]
}
