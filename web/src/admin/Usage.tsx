import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { api, data, type Schemas } from '../api/client'
import { BudgetMeters } from '../shell/BudgetMeters'
import { Chart } from '../ui/Chart'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Table } from '../ui/Table'
import { duration } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { allDays, Filters, number } from './parts'
import { adminRoute } from './route'

type Row = Schemas['UsageRow']
type Count = (typeof COUNTS)[number][0]
const COUNTS = [['requests', 'Requests'], ['writes', 'Writes'], ['commits', 'Commits'], ['sandboxes', 'Sandboxes'], ['commands', 'Commands'], ['refused', 'Refused'], ['failed', 'Failed']] as const
/** What stands in one chart together: amounts of one size. */
const CHARTS: readonly (readonly [label: string, of: readonly Count[]])[] = [['Calls', ['requests', 'writes']], ['Work', ['commits', 'sandboxes', 'commands']], ['What did not go', ['refused', 'failed']]]
const WORDS = Object.fromEntries(COUNTS) as Record<Count, string>

/** What was used, by day or by actor. */
export function Usage() {
  const search = adminRoute.useSearch()
  const by = search.by === 'actor' ? 'actor' : 'day'
  const query = { by, actor: search.actor ?? null, from: search.from ?? null, to: search.to ?? null, limit: 200 } as const
  const usage = useQuery({ queryKey: ['usage', query], queryFn: ({ signal }) => data(api.GET('/v1/usage', { params: { query }, signal })) })
  return (
    <div className="flex flex-col gap-4">
      <Filters fields={[['actor', 'Who'], ['from', 'From', 'date'], ['to', 'Until', 'date']]}>
        <nav aria-label="By" className="flex gap-1">
          {(['day', 'actor'] as const).map((each) => (
            <Link key={each} to="/admin" search={{ ...search, by: each === 'day' ? undefined : each }} aria-current={each === by ? 'true' : undefined} className={`rounded-full border px-3 py-0.5 text-sm ${each === by ? 'border-accent font-medium text-accent' : 'border-line text-muted hover:text-text'}`}>
              By {each}
            </Link>
          ))}
        </nav>
        <CopyAs call={{ cli: `builderos usage --by ${by}`, method: 'GET', path: `/v1/usage?by=${by}`, mcp: { name: 'getUsage', arguments: query } }} />
      </Filters>
      {usage.isPending ? <Waiting /> : usage.isError ? <ProblemNote error={usage.error} again={() => void usage.refetch()} /> : <Shown usage={usage.data} by={by} />}
    </div>
  )
}

function Shown({ usage, by }: { usage: Schemas['Usage']; by: 'day' | 'actor' }) {
  if (usage.items.length === 0) return <EmptyState title="Nothing was used in this time." command="builderos sandbox create" />
  const named = (row: Row): string => (by === 'day' ? (row.day ?? '') : (row.actor ?? ''))
  return (
    <>
      <dl aria-label="In all" className="flex flex-wrap gap-x-8 gap-y-2">
        {COUNTS.map(([name, word]) => (
          <div key={name}>
            <dt className="text-sm text-muted">{word}</dt>
            <dd className="text-xl font-semibold">{number(usage.totals[name])}</dd>
          </div>
        ))}
        <div>
          <dt className="text-sm text-muted">Seats</dt>
          <dd className="text-xl font-semibold">{usage.seats}</dd>
        </div>
      </dl>
      <Limits />
      <Charts rows={usage.items} named={named} by={by} />
      <Table
        label="Usage"
        rows={usage.items}
        keyOf={named}
        columns={[
          { id: 'name', title: by === 'day' ? 'Day' : 'Who', width: 'minmax(12rem, 1fr)', cell: (row: Row) => harmless(named(row)) },
          ...COUNTS.map(([name, word]) => ({ id: name, title: word, width: '7rem', align: 'right' as const, cell: (row: Row) => number(row[name]) })),
          { id: 'cpu', title: 'Processor', width: '8rem', align: 'right' as const, cell: (row: Row) => duration(row.cpu_ms) },
        ]}
      />
    </>
  )
}

/** How far the budgets are used up, the nearest to their end first. */
function Limits() {
  const found = useQuery({ queryKey: ['budgets'], queryFn: ({ signal }) => data(api.GET('/v1/budgets', { signal })) })
  const items = [...(found.data?.items ?? [])].sort((one, other) => other.percent - one.percent).slice(0, 8)
  return items.length > 0 && <Section title="Budgets"><BudgetMeters items={items} /></Section>
}

function Charts({ rows, named, by }: { rows: readonly Row[]; named: (row: Row) => string; by: 'day' | 'actor' }) {
  const known = new Map(rows.map((row) => [named(row), row]))
  const at = by === 'day' ? allDays([...known.keys()]) : [...known.keys()].slice(0, 40)
  const kind = by === 'day' ? 'line' : 'bar'
  // A day without a row is one on which nothing was done: no gap for amounts, a gap for means.
  const mean = at.map((name) => {
    const row = known.get(name)
    return row && row.requests > 0 ? row.busy_ms / row.requests : null
  })
  return (
    <div className="grid gap-4 lg:grid-cols-2">
      {CHARTS.map(([label, of]) => (
        <Chart key={label} label={`${label} by ${by}`} at={at} kind={kind} series={of.map((name) => ({ name: WORDS[name], values: at.map((day) => known.get(day)?.[name] ?? 0) }))} />
      ))}
      <Chart label={`Mean time of a request by ${by}`} at={at} kind={kind} series={[{ name: 'Mean', values: mean }]} format={duration} />
    </div>
  )
}
