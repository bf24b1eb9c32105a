import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { api, data, type Schemas } from '../api/client'
import { Chart } from '../ui/Chart'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { Select } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { duration } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { adminRoute } from './route'

type Run = Schemas['RunRow']
const RUNS = 200

/** How long runs took, one after the other, of one pipeline or of all. */
export function Speed() {
  const query = { open: false, limit: RUNS } as const
  const found = useQuery({ queryKey: ['runs', 'speed', query], queryFn: ({ signal }) => data(api.GET('/v1/runs', { params: { query }, signal })) })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  const over = found.data.items.filter((run) => run.started_at && run.ended_at).reverse()
  return (
    <Section title="How long runs took" actions={<CopyAs call={{ cli: 'builderos run list', method: 'GET', path: `/v1/runs?open=false&limit=${RUNS}`, mcp: { name: 'listRuns', arguments: query } }} />}>
      {over.length === 0 ? <EmptyState title="No run has come to its end." command="builderos run start <pipeline>" /> : <Shown over={over} />}
    </Section>
  )
}

function Shown({ over }: { over: readonly Run[] }) {
  const search = adminRoute.useSearch()
  const go = useNavigate()
  const names = [...new Set(over.map((run) => run.pipeline_id))].sort()
  const chosen = names.find((name) => name === search.object)
  const shown = chosen ? over.filter((run) => run.pipeline_id === chosen) : over
  return (
    <>
      <div className="max-w-sm">
        <Select label="Pipeline" value={chosen ?? ''} onChange={(object) => void go({ to: '/admin', search: { tab: 'speed', object: object || undefined } })} options={[['', 'all'], ...names.map((name) => [name, name] as const)]} />
      </div>
      <Chart label={`The last ${shown.length} runs, oldest first`} at={shown.map(named)} format={duration} series={[{ name: 'From start to end', values: shown.map(took) }, { name: 'Until it began', values: shown.map(waited) }]} />
      {names.length > 1 && <Chart label="Half of the runs took at most" kind="bar" at={names.slice(0, 40)} format={duration} series={[{ name: 'Time', values: names.slice(0, 40).map((name) => middle(over.filter((run) => run.pipeline_id === name).map(took))) }]} />}
    </>
  )
}

const ms = (at: string | null): number => Date.parse(at ?? '')
const took = (run: Run): number => ms(run.ended_at) - ms(run.started_at)
const waited = (run: Run): number => Math.max(0, ms(run.started_at) - ms(run.created_at))
const named = (run: Run): string => `${run.pipeline_id}, ${run.created_at.slice(0, 16).replace('T', ' ')}, ${run.status.replace('_', ' ')}`

function middle(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? null
}
