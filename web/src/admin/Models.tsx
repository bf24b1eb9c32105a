import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { api, data, type Schemas } from '../api/client'
import { Chart } from '../ui/Chart'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Table } from '../ui/Table'
import { duration } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { allDays, number } from './parts'
import { adminRoute } from './route'

type Sum = Schemas['AiSum']
const BY = ['day', 'model', 'provider', 'agent', 'prompt', 'actor', 'key', 'run'] as const

/** What models were asked, what it cost and how long it took, added up in one way or another. */
export function Models() {
  const search = adminRoute.useSearch()
  const by = BY.find((each) => each === search.by) ?? 'day'
  const found = useQuery({ queryKey: ['models', by], queryFn: ({ signal }) => data(api.GET('/v1/ai/usage/sums', { params: { query: { by } }, signal })) })
  return (
    <div className="flex flex-col gap-4">
      <div className="flex flex-wrap justify-between gap-2">
        <nav aria-label="Added up by" className="flex flex-wrap gap-1">
          {BY.map((each) => (
            <Link key={each} to="/admin" search={{ tab: 'models', by: each }} aria-current={each === by ? 'true' : undefined} className={`rounded-full border px-3 py-0.5 text-sm ${each === by ? 'border-accent font-medium text-accent' : 'border-line text-muted hover:text-text'}`}>
              By {each}
            </Link>
          ))}
        </nav>
        <CopyAs call={{ cli: `builderos ai usage --by ${by}`, method: 'GET', path: `/v1/ai/usage/sums?by=${by}`, mcp: { name: 'sumModelUsage', arguments: { by } } }} />
      </div>
      {found.isPending ? <Waiting /> : found.isError ? <ProblemNote error={found.error} again={() => void found.refetch()} /> : <Sums items={found.data.items} by={by} />}
      <ModelBudgets />
    </div>
  )
}

function Sums({ items, by }: { items: readonly Sum[]; by: (typeof BY)[number] }) {
  if (items.length === 0) return <EmptyState title="No model was asked." command={'builderos agent run builder "…"'} />
  const named = (row: Sum): string => row.name ?? 'none'
  const known = new Map(items.map((row) => [named(row), row]))
  const at = by === 'day' ? allDays([...known.keys()]) : [...known.keys()].slice(0, 40)
  const amounts = (of: 'requests' | 'failed' | 'cost' | 'input_tokens' | 'output_tokens') => at.map((name) => known.get(name)?.[of] ?? 0)
  const times = (of: 'first_p50_ms' | 'total_p50_ms' | 'total_p95_ms') => at.map((name) => known.get(name)?.[of] ?? null)
  const kind = by === 'day' ? 'line' : 'bar'
  return (
    <>
      <div className="grid gap-4 lg:grid-cols-2">
        <Chart label={`How long models took by ${by}`} at={at} kind={kind} format={duration} series={[{ name: 'Half of them at most', values: times('total_p50_ms') }, { name: '95 of 100 at most', values: times('total_p95_ms') }, { name: 'First word, half of them', values: times('first_p50_ms') }]} />
        <Chart label={`Cost by ${by}`} at={at} kind={kind} format={(value) => value.toFixed(4)} series={[{ name: 'Cost', values: amounts('cost') }]} />
        <Chart label={`Requests by ${by}`} at={at} kind={kind} series={[{ name: 'Requests', values: amounts('requests') }, { name: 'Failed', values: amounts('failed') }]} />
        <Chart label={`Tokens by ${by}`} at={at} kind={kind} series={[{ name: 'In', values: amounts('input_tokens') }, { name: 'Out', values: amounts('output_tokens') }]} />
      </div>
      <Table
        label="Use of models"
        rows={items}
        keyOf={named}
        className="max-h-[50vh]"
        columns={[
          { id: 'name', title: by, width: 'minmax(12rem, 1fr)', cell: (row) => harmless(named(row)) },
          { id: 'requests', title: 'Requests', width: '7rem', align: 'right', cell: (row) => number(row.requests) },
          { id: 'failed', title: 'Failed', width: '6rem', align: 'right', cell: (row) => number(row.failed) },
          { id: 'in', title: 'Tokens in', width: '8rem', align: 'right', cell: (row) => number(row.input_tokens) },
          { id: 'out', title: 'Tokens out', width: '8rem', align: 'right', cell: (row) => number(row.output_tokens) },
          { id: 'ms', title: 'Half took at most', width: '9rem', align: 'right', cell: (row) => (row.total_p50_ms === null ? '' : duration(row.total_p50_ms)) },
          { id: 'cost', title: 'Cost', width: '8rem', align: 'right', cell: (row) => row.cost.toFixed(4) },
        ]}
      />
    </>
  )
}

function ModelBudgets() {
  const found = useQuery({ queryKey: ['models', 'budgets'], queryFn: ({ signal }) => data(api.GET('/v1/ai/budgets', { signal })) })
  if (!found.data || found.data.items.length === 0) return null
  return (
    <Section title="Budgets of models">
      <ul aria-label="Budgets of models" className="grid gap-3 sm:grid-cols-2 xl:grid-cols-4">
        {found.data.items.map((one) => (
          <li key={`${one.subject} ${one.meter} ${one.period}`} className="rounded-lg border border-line bg-panel p-3 text-sm">
            <p className="font-medium">{harmless(one.subject)}</p>
            <p className="text-muted">
              {number(one.amount)} {one.meter} per {one.period}
            </p>
            {one.uses.slice(0, 5).map((use) => (
              <p key={use.of}>
                {harmless(use.of)}: {use.percent} %
              </p>
            ))}
          </li>
        ))}
      </ul>
    </Section>
  )
}
