import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useMemo } from 'react'
import { api, data, type Schemas } from '../api/client'
import { DiffReview } from '../ui/DiffReview'
import { filesOf } from '../ui/diffs'
import { Note, ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table, type Column } from '../ui/Table'
import { Waiting } from '../ui/Waiting'

type Row = Schemas['ReplayedStep']
const STATE: Record<string, string> = { same: 'succeeded', recorded: 'cached', unchanged: 'succeeded', diverged: 'failed', open: 'running' }
const COLUMNS: readonly Column<Row>[] = [
  { id: 'verdict', title: 'Verdict', width: '10rem', cell: (row) => <Status of={STATE[row.verdict] ?? row.verdict} /> },
  { id: 'word', title: 'In a word', width: '9rem', cell: (row) => row.verdict },
  { id: 'name', title: 'Step', width: 'minmax(10rem, 1fr)', cell: (row) => <bdi>{harmless(row.name)}</bdi> },
  { id: 'why', title: 'What differs', width: 'minmax(12rem, 2fr)', cell: (row) => shownLine([...row.differs, ...row.ingredients, row.why ?? ''].filter(Boolean).join(', '), 300) },
]

/** How a replay came out against the run that it repeats. */
export function ReplayResult({ id }: { id: string }) {
  const found = useQuery({ queryKey: ['run', id, 'replay'], queryFn: ({ signal }) => data(api.GET('/v1/runs/{id}/replay', { params: { path: { id } }, signal })) })
  const text = found.data?.first_divergence?.diff?.text ?? ''
  const files = useMemo(() => filesOf(text), [text])
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} />
  const { reproduced, message, of, steps, first_divergence } = found.data
  return (
    <section aria-label="Replay" className="flex flex-col gap-3">
      <Note tone={reproduced === true ? 'good' : reproduced === false ? 'bad' : 'calm'} role="status">
        {harmless(message)}{' '}
        <Link to="/runs/$id" params={{ id: of }} className="text-accent underline">
          The run that it repeats
        </Link>
      </Note>
      {first_divergence && (
        <p>
          It differs first in <bdi>{harmless(first_divergence.step)}</bdi>
          {first_divergence.path && (
            <>
              , file <bdi>{shownLine(first_divergence.path, 200)}</bdi>
            </>
          )}
          .
        </p>
      )}
      {files.length > 0 && <DiffReview label="First difference" files={files} className="h-[30vh]" />}
      <Table label="Steps of the replay" rows={steps} columns={COLUMNS} keyOf={(row) => row.name} className="max-h-[50vh]" />
    </section>
  )
}
