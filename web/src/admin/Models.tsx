import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { api, data, type Schemas } from '../api/client'
import { Bars } from '../ui/Bars'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Table } from '../ui/Table'
import { Waiting } from '../ui/Waiting'
import { adminRoute } from './route'

type Sum = Schemas['AiSum']
const BY = ['day', 'model', 'provider', 'agent', 'prompt', 'actor', 'key', 'run'] as const
const number = (value: number): string => value.toLocaleString('en')

/** What models were asked and what it cost, added up in one way or another. */
export function Models() {
  const search = adminRoute.useSearch()
  const by = BY.find((each) => each === search.by) ?? 'day'
  const found = useQuery({ queryKey: ['models', by], queryFn: ({ signal }) => data(api.GET('/v1/ai/usage/sums', { params: { query: { by } }, signal })) })
  return (
    <div className="flex flex-col gap-4">
      <nav aria-label="Added up by" className="flex flex-wrap gap-1">
        {BY.map((each) => (
          <Link key={each} to="/admin" search={{ tab: 'models', by: each }} aria-current={each === by ? 'true' : undefined} className={`rounded-full border px-3 py-0.5 text-sm ${each === by ? 'border-accent font-medium text-accent' : 'border-line text-muted hover:text-text'}`}>
            By {each}
          </Link>
        ))}
      </nav>
      {found.isPending ? <Waiting /> : found.isError ? <ProblemNote error={found.error} again={() => void found.refetch()} /> : <Sums items={found.data.items} by={by} />}
      <ModelBudgets />
    </div>
  )
}

function Sums({ items, by }: { items: readonly Sum[]; by: string }) {
  if (items.length === 0) return <EmptyState title="No model was asked." command={'builderos agent run builder "…"'} />
  const named = (row: Sum): string => row.name ?? 'none'
  const inOrder = by === 'day' ? [...items].sort((a, b) => named(a).localeCompare(named(b))) : items
  return (
    <>
      <Bars label={`Cost by ${by}`} of={inOrder.slice(-60).map((row) => ({ name: named(row), value: row.cost }))} />
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
