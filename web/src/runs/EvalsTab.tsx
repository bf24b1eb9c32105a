import { useQuery } from '@tanstack/react-query'
import { api, data } from '../api/client'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { Panel } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table, type Column } from '../ui/Table'
import { Waiting } from '../ui/Waiting'
import type { Pane } from './Run'

interface Case {
  id: string
  status: string
  score: string
  reason: string
}

const word = (value: unknown): string => (typeof value === 'string' ? value : typeof value === 'number' ? String(Math.round(value * 1000) / 1000) : '')
const STATE: Record<string, string> = { pass: 'succeeded', fail: 'failed', error: 'failed' }
const COLUMNS: readonly Column<Case>[] = [
  { id: 'status', title: 'Result', width: '9rem', cell: (row) => <Status of={STATE[row.status] ?? row.status} /> },
  { id: 'id', title: 'Case', width: 'minmax(10rem, 1fr)', cell: (row) => <bdi>{harmless(row.id)}</bdi> },
  { id: 'score', title: 'Score', width: '6rem', align: 'right', cell: (row) => row.score },
  { id: 'reason', title: 'Why', width: 'minmax(12rem, 3fr)', cell: (row) => <span title={shownLine(row.reason, 400)}>{shownLine(row.reason, 300)}</span> },
]

/** What came of the suites that the run tried. */
export default function EvalsTab({ id, view, steps }: Pane) {
  const named = [view.params?.suite, ...steps.flatMap((step) => [step.result.suite, ...(Array.isArray(step.result.suites) ? step.result.suites : [])])]
  const suites = [...new Set(named.filter((one): one is string => typeof one === 'string'))]
  if (suites.length === 0) return <EmptyState title="This run tried no suite." command="builderos eval run SUITE" />
  return (
    <div className="flex flex-col gap-4">
      {suites.slice(0, 10).map((suite) => (
        <Suite key={suite} id={id} suite={suite} />
      ))}
    </div>
  )
}

function Suite({ id, suite }: { id: string; suite: string }) {
  const found = useQuery({ queryKey: ['evals', suite, id], queryFn: ({ signal }) => data(api.GET('/v1/evals/{suite}/results', { params: { path: { suite }, query: { run_id: id } }, signal })) })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} />
  const { result, document } = found.data
  const raw = Array.isArray(document.cases) ? (document.cases as Record<string, unknown>[]) : []
  const cases = raw.map((one) => ({ id: word(one.id), status: word(one.status), score: word(one.score), reason: word(one.reason) }))
  return (
    <Panel className="flex flex-col gap-3 p-3">
      <div className="flex flex-wrap items-center gap-4">
        <h2 className="font-medium">{harmless(suite)}</h2>
        <Status of={STATE[result.verdict] ?? result.verdict} />
        <span>{Math.round(result.pass_rate * 100)} % of {result.cases} passed</span>
        {result.prompt && <span className="text-muted">{harmless(`${result.prompt}@${result.version ?? ''}`)}</span>}
        {result.regressions > 0 && <span className="text-bad">{result.regressions} worse than before</span>}
        {result.flaky > 0 && <span className="text-warn">{result.flaky} unsteady</span>}
      </div>
      {cases.length > 0 && <Table label={`Cases of ${harmless(suite)}`} rows={cases} columns={COLUMNS} keyOf={(row) => row.id} className="max-h-[50vh]" />}
    </Panel>
  )
}
