import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { api, data } from '../api/client'
import { METER_MS } from '../api/query'
import { Button } from '../ui/Button'
import { Checkbox, Field, Select, TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { shownLine } from '../ui/plain'
import { Plot, type Curve } from '../ui/Plot'
import type { Point } from '../ui/curves'
import { duration } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import type { CurvesSearch } from './route'

/** Charts that stand on the page at first, and more with each press. */
const FIRST = 6
const POINTS = 600
const MOST_DRAWN = 20

interface Props {
  /** Experiment, runs and their names. */
  experiment: string
  runs: readonly { id: string; name: string }[]
  /** Metrics that the runs have. */
  metrics: readonly string[]
  search: CurvesSearch
  put: (change: CurvesSearch) => void
  /** Something of it still runs. */
  live: boolean
}

/** A chart for each metric, all runs laid over one another. */
export function Curves({ experiment, runs, metrics, search, put, live }: Props) {
  const [part, setPart] = useState('')
  const [many, setMany] = useState(FIRST)
  const like = metrics.filter((key) => key.toLowerCase().includes(part.toLowerCase()))
  const wanted = part === '' && search.metrics ? search.metrics.filter((key) => metrics.includes(key)) : like
  const shown = wanted.slice(0, many)
  const drawn = runs.slice(0, MOST_DRAWN)
  return (
    <div className="flex flex-col gap-4">
      <form aria-label="How it is drawn" className="flex flex-wrap items-end gap-4" onSubmit={(event) => event.preventDefault()}>
        <TextField label="Part of a metric's name" value={part} onChange={(text) => { setPart(text); setMany(FIRST) }} />
        <Select label="Along" value={search.axis ?? 'step'} onChange={(axis) => put({ axis: axis === 'time' ? 'time' : undefined })} options={[['step', 'Steps'], ['time', 'Time since the beginning']]} />
        <Field label={`Smoothing ${Math.round((search.smooth ?? 0) * 100)} %`}>
          {(ids) => <input type="range" {...ids} min={0} max={99} value={Math.round((search.smooth ?? 0) * 100)} onChange={(event) => put({ smooth: Number(event.target.value) > 0 ? Number(event.target.value) / 100 : undefined })} className="w-40 accent-accent" />}
        </Field>
        <Checkbox label="Logarithmic" checked={search.log ?? false} onChange={(log) => put({ log: log ? true : undefined })} />
        {search.metrics && part === '' && <Button look="quiet" onClick={() => put({ metrics: undefined })}>All metrics</Button>}
      </form>
      {runs.length > MOST_DRAWN && <p className="text-sm text-muted">The first {MOST_DRAWN} of {runs.length} runs are drawn; the tables have all.</p>}
      {metrics.length === 0 ? <p className="text-muted">No metric was logged.</p> : shown.length === 0 && <p className="text-muted">No metric is called like this.</p>}
      {batches(shown).map((keys) => (
        <Batch key={keys[0]} metrics={keys} experiment={experiment} runs={drawn} search={search} live={live} alone={wanted.length === 1} onAlone={(key) => { setPart(''); put({ metrics: [key] }) }} />
      ))}
      {wanted.length > shown.length && <div><Button onClick={() => setMany(many + FIRST)}>More charts ({(wanted.length - shown.length).toLocaleString('en')})</Button></div>}
    </div>
  )
}

const batches = (keys: readonly string[]): string[][] => Array.from({ length: Math.ceil(keys.length / FIRST) }, (_, n) => keys.slice(n * FIRST, (n + 1) * FIRST))

interface BatchProps {
  metrics: readonly string[]
  experiment: string
  runs: readonly { id: string; name: string }[]
  search: CurvesSearch
  live: boolean
  alone: boolean
  onAlone: (metric: string) => void
}

/** Some charts that are read together. */
function Batch({ metrics, experiment, runs, search, live, alone, onAlone }: BatchProps) {
  const axis = search.axis ?? 'step'
  const ids = runs.map((run) => run.id)
  const found = useQuery({
    queryKey: ['experiments', experiment, 'series', metrics, axis, ids],
    queryFn: ({ signal }) => seriesOf(experiment, ids, metrics, axis, signal),
    placeholderData: keepPreviousData,
    refetchInterval: live ? METER_MS : false,
  })
  const charts = useMemo(
    () => metrics.map((metric) => [metric, runs.map((run, n): Curve => ({ name: run.name, points: found.data?.get(metric)?.[n] ?? [] })).filter((curve) => curve.points.length > 0)] as const),
    [metrics, runs, found.data],
  )
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  return (
    <div className={`grid gap-4 ${metrics.length > 1 ? 'lg:grid-cols-2' : ''}`}>
      {charts.map(([metric, curves]) => (
        <div key={metric} className="flex min-w-0 flex-col gap-1">
          <Plot label={metric} curves={curves} log={search.log ?? false} smooth={search.smooth ?? 0} tall={alone} {...(axis === 'time' ? { place: since } : {})} />
          {!alone && <div><Button look="quiet" small onClick={() => onAlone(metric)} aria-label={`Only this one: ${shownLine(metric, 60)}`}>Only this one</Button></div>}
        </div>
      ))}
    </div>
  )
}

const since = (ms: number): string => (ms < 0 ? `−${duration(-ms)}` : duration(ms))

/** Points of each metric for each run, in the order of their axis: a clock may run backwards, and a step come twice. */
async function seriesOf(id: string, ids: readonly string[], metrics: readonly string[], axis: 'step' | 'time', signal: AbortSignal): Promise<Map<string, Point[][]>> {
  const query = { runs: ids.join(','), series: metrics.join(','), points: POINTS, axis }
  const found = await data(api.GET('/v1/experiments/{id}/compare', { params: { path: { id }, query }, signal }))
  const pointsOf = (of: (typeof found.series)[number]['points'][number]): Point[] => of.map(([at, value]): Point => [Number(at), value ?? 'NaN']).sort((one, other) => one[0] - other[0])
  return new Map(found.series.map((one) => [one.key, one.points.map(pointsOf)]))
}
