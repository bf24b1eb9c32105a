import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { api, data, type Schemas } from '../api/client'
import { Chart } from '../ui/Chart'
import { CopyAs } from '../ui/CopyAs'
import { Select } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'
import { Table } from '../ui/Table'
import { duration } from '../ui/Time'
import { Plot } from '../ui/Plot'
import { Waiting } from '../ui/Waiting'
import type { One } from './Endpoints'

const ASK_AGAIN_MS = 5000
const SPANS: readonly (readonly [string, string])[] = [['15', '15 minutes'], ['60', 'An hour'], ['360', '6 hours'], ['1440', 'A day'], ['10080', 'A week']]
const ms = (value: number | null): string => (value === null ? '' : value < 10 ? `${value.toFixed(1)} ms` : duration(value))
const percent = (share: number): string => `${(share * 100).toLocaleString('en', { maximumFractionDigits: 2 })} %`

/** How it did lately: all together, and each of its starts. */
export function Metrics({ one, minutes, onMinutes }: { one: One; minutes: number; onMinutes: (minutes: number) => void }) {
  const found = useQuery({
    queryKey: ['endpoints', one.id, 'metrics', minutes],
    queryFn: ({ signal }) => data(api.GET('/v1/endpoints/{id}/metrics', { params: { path: { id: one.id }, query: { minutes } }, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: one.state === 'active' ? ASK_AGAIN_MS : false,
  })
  const called = new Map(one.deployments.map((each) => [each.id, `${each.model}@${each.version}, start ${each.number}`]))
  return (
    <div className="flex flex-col gap-4">
      <div className="flex flex-wrap items-end justify-between gap-3">
        <Select label="The last" value={String(minutes)} onChange={(value) => onMinutes(Number(value))} options={SPANS.some(([value]) => value === String(minutes)) ? SPANS : [...SPANS, [String(minutes), `${minutes} minutes`]]} />
        <CopyAs call={{ cli: `builderos endpoint metrics ${one.id}`, method: 'GET', path: `/v1/endpoints/${one.id}/metrics?minutes=${minutes}`, mcp: { name: 'endpointMetrics', arguments: { id: one.id, minutes } } }} />
      </div>
      {found.isPending ? <Waiting /> : found.isError ? <ProblemNote error={found.error} again={() => void found.refetch()} /> : (
        <>
        <Table
          label="How it did"
          rows={[found.data.total, ...found.data.deployments]}
          keyOf={(row) => row.deployment_id ?? 'all'}
          className="max-h-[40vh]"
          columns={[
            { id: 'what', title: 'What', width: 'minmax(12rem, 2fr)', cell: (row) => (row.deployment_id === null ? 'All together' : harmless(called.get(row.deployment_id) ?? row.deployment_id)) },
            { id: 'calls', title: 'Calls', width: '7rem', align: 'right', cell: (row) => row.calls.toLocaleString('en') },
            { id: 'errors', title: 'Errors', width: '7rem', align: 'right', cell: (row) => row.errors.toLocaleString('en') },
            { id: 'rate', title: 'Error rate', width: '7rem', align: 'right', cell: (row) => percent(row.error_rate) },
            { id: 'refused', title: 'Did not fit', width: '7rem', align: 'right', cell: (row) => row.refused.toLocaleString('en') },
            { id: 'p50', title: 'Half within', width: '7rem', align: 'right', cell: (row) => ms(row.p50_ms) },
            { id: 'p95', title: '95 % within', width: '7rem', align: 'right', cell: (row) => ms(row.p95_ms) },
            ...(found.data.total.compared > 0 ? [{ id: 'differed', title: 'Shadow differed', width: '10rem', align: 'right' as const, cell: (row: Schemas['Answered']) => (row.compared > 0 ? `${row.differed.toLocaleString('en')} of ${row.compared.toLocaleString('en')}` : '') }] : []),
          ]}
        />
        {found.data.total.calls > 0 && <Charts of={found.data} />}
        </>
      )}
    </div>
  )
}

/** How long calls took, and how it went over time. */
function Charts({ of }: { of: Schemas['EndpointMetrics'] }) {
  const first = of.buckets.findIndex((one) => one.calls > 0)
  const last = of.buckets.findLastIndex((one) => one.calls > 0)
  const buckets = of.buckets.slice(Math.max(0, first - 1), last + 2)
  const clock = of.minutes > 1440 ? DAYS : HOURS
  const at = of.times.map((one) => Date.parse(one.at))
  const curve = (name: string, value: (one: Schemas['AnsweredAt']) => number | null) => ({ name, points: of.times.flatMap((one, n) => { const found = value(one); return found === null ? [] : [[at[n] ?? 0, found] as const] }) })
  return (
    <div className="grid gap-4 lg:grid-cols-2">
      <Chart label="Calls by latency" kind="bar" at={buckets.map((one) => (one.up_to_ms === null ? 'longer' : `to ${ms(one.up_to_ms)}`))} series={[{ name: 'calls', values: buckets.map((one) => one.calls) }]} />
      <Plot label="Latency, ms" place={(place) => clock.format(place)} curves={[curve('half within', (one) => one.p50_ms), curve('95 % within', (one) => one.p95_ms)]} />
      <Plot label="Error rate, %" place={(place) => clock.format(place)} curves={[curve('errors', (one) => (one.calls > 0 ? (one.errors / one.calls) * 100 : null)), curve('did not fit', (one) => (one.calls > 0 ? (one.refused / one.calls) * 100 : null))]} />
      <Plot label="Calls" place={(place) => clock.format(place)} curves={[curve('calls', (one) => one.calls)]} />
    </div>
  )
}

const HOURS = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hour12: false })
const DAYS = new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hour12: false })
