import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { api, data, type Schemas } from '../api/client'
import { Bars } from '../ui/Bars'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'
import { Table } from '../ui/Table'
import { duration } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { Filters, instant } from './parts'
import { adminRoute } from './route'

type Row = Schemas['UsageRow']
const COUNTS = [['requests', 'Requests'], ['writes', 'Writes'], ['commits', 'Commits'], ['sandboxes', 'Sandboxes'], ['commands', 'Commands'], ['refused', 'Refused'], ['failed', 'Failed']] as const
const number = (value: number): string => value.toLocaleString('en')

/** What was used, by day or by actor. */
export function Usage() {
  const search = adminRoute.useSearch()
  const by = search.by === 'actor' ? 'actor' : 'day'
  const query = { by, actor: search.actor ?? null, from: instant(search.from), to: instant(search.to), limit: 200 } as const
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
      </Filters>
      {usage.isPending ? <Waiting /> : usage.isError ? <ProblemNote error={usage.error} again={() => void usage.refetch()} /> : <Shown usage={usage.data} by={by} />}
    </div>
  )
}

function Shown({ usage, by }: { usage: Schemas['Usage']; by: 'day' | 'actor' }) {
  if (usage.items.length === 0) return <EmptyState title="Nothing was used in this time." command="builderos usage" />
  const named = (row: Row): string => (by === 'day' ? (row.day ?? '') : (row.actor ?? ''))
  const inOrder = by === 'day' ? [...usage.items].sort((a, b) => named(a).localeCompare(named(b))) : usage.items
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
      <div className="grid gap-4 md:grid-cols-2">
        <Bars label={`Requests by ${by}`} of={inOrder.map((row) => ({ name: named(row), value: row.requests }))} />
        <Bars label={`Commits by ${by}`} of={inOrder.map((row) => ({ name: named(row), value: row.commits }))} />
      </div>
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
