import { useMutation, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { short } from '../ui/curves'
import { EmptyState } from '../ui/EmptyState'
import { Select, TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table } from '../ui/Table'
import { Time } from '../ui/Time'
import type { One } from './Endpoints'

/** What answers, with which share of the calls, and how to change that. */
export function Traffic({ one, can }: { one: One; can: boolean }) {
  const ready = one.deployments.filter((each) => each.status === 'ready')
  if (one.deployments.length === 0) return <EmptyState title="Nothing was started here." command={`builderos endpoint show ${one.id}`} />
  return (
    <div className="flex flex-col gap-4">
      <Split of={one} />
      <Table
        label="Versions behind the endpoint"
        rows={one.deployments}
        keyOf={(each) => each.id}
        className="max-h-[50vh]"
        columns={[
          { id: 'number', title: 'Start', width: '5rem', align: 'right', cell: (each) => each.number },
          { id: 'model', title: 'Version', width: 'minmax(10rem, 1fr)', cell: (each) => <Link to="/models/$name" params={{ name: each.model }} search={{ version: each.version }} className="font-medium text-accent underline"><bdi>{harmless(each.model)}@{each.version}</bdi></Link> },
          { id: 'status', title: 'State', width: '8rem', cell: (each) => <Status of={each.status} /> },
          { id: 'share', title: 'Share', width: '7rem', align: 'right', cell: (each) => (each.id === one.shadow ? 'shadow' : `${each.share} %`) },
          { id: 'replicas', title: 'Processes', width: '7rem', align: 'right', cell: (each) => (each.status === 'ready' || each.status === 'starting' ? each.replicas : '') },
          { id: 'drift', title: 'What comes in', width: '9rem', cell: (each) => each.drift.length > 0 && <Status of={worst(each)} /> },
          { id: 'detail', title: 'What happened', width: 'minmax(12rem, 2fr)', cell: (each) => <bdi title={harmless(each.detail.slice(0, 2000))}>{harmless(each.detail.slice(0, 300))}</bdi> },
          { id: 'ready', title: 'Ready', width: '9rem', cell: (each) => each.ready_at && <Time at={each.ready_at} /> },
          { id: 'ended', title: 'Ended', width: '9rem', cell: (each) => each.ended_at && <Time at={each.ended_at} /> },
        ]}
      />
      <Drifted one={one} />
      {can && ready.length > 1 && <Change key={JSON.stringify([one.shadow, ready.map((each) => [each.id, each.share])])} one={one} ready={ready} />}
    </div>
  )
}

const LEVELS = ['stable', 'moved', 'shifted'] as const
const worst = (each: One['deployments'][number]): string => LEVELS[Math.max(0, ...each.drift.map((column) => LEVELS.indexOf(column.level)))] ?? 'stable'

/** How far the numbers that come in have moved from those that came first: the columns of whatever still answers. */
function Drifted({ one }: { one: One }) {
  const rows = one.deployments.filter((each) => each.status === 'ready').flatMap((each) => each.drift.map((column) => ({ ...column, key: `${each.id} ${column.column}`, of: `${each.model}@${each.version}, start ${each.number}` })))
  if (rows.length === 0) return null
  return (
    <Section title="Drift">
      <p className="text-sm text-muted">Population stability index of each column: below 0.1 it is as it was, from 0.25 on it is something else.</p>
      <Table
        label="Drift of columns"
        rows={rows}
        keyOf={(row) => row.key}
        className="max-h-[40vh]"
        columns={[
          { id: 'column', title: 'Column', width: 'minmax(10rem, 1fr)', cell: (row) => <bdi>{shownLine(row.column, 100)}</bdi> },
          { id: 'psi', title: 'Index', width: '7rem', align: 'right', cell: (row) => short(row.psi) },
          { id: 'level', title: 'It has', width: '9rem', cell: (row) => <Status of={row.level} /> },
          { id: 'of', title: 'As seen by', width: 'minmax(10rem, 1fr)', cell: (row) => <bdi>{harmless(row.of)}</bdi> },
        ]}
      />
    </Section>
  )
}

const INKS = ['bg-ink-1', 'bg-ink-2', 'bg-ink-3', 'bg-ink-4', 'bg-ink-5', 'bg-ink-6', 'bg-ink-7', 'bg-ink-8'] as const

/** The shares as one bar. The table has them as numbers. */
function Split({ of }: { of: One }) {
  const parts = of.deployments.filter((each) => each.share > 0)
  if (parts.length === 0) return null
  const said = parts.map((each) => `${each.model}@${each.version} ${each.share} %`).join(', ')
  return (
    <div className="flex flex-col gap-1">
      <div role="img" aria-label={`Traffic: ${harmless(said)}`} className="flex h-4 gap-0.5 overflow-hidden rounded">
        {parts.map((each, n) => <span key={each.id} style={{ width: `${each.share}%` }} className={INKS[n % INKS.length]} />)}
      </div>
      <p className="text-sm text-muted" aria-hidden><bdi>{harmless(said)}</bdi></p>
    </div>
  )
}

function Change({ one, ready }: { one: One; ready: One['deployments'] }) {
  const [shadow, setShadow] = useState(one.shadow ?? '')
  const [shares, setShares] = useState<Record<string, string>>(Object.fromEntries(ready.map((each) => [each.id, String(each.share)])))
  const cache = useQueryClient()
  const sum = ready.reduce((total, each) => total + Number(shares[each.id] ?? 0), 0)
  const split = useMutation({
    mutationFn: () => data(api.POST('/v1/endpoints/{id}/traffic', { params: { path: { id: one.id } }, body: { shares: Object.fromEntries(ready.map((each) => [each.id, Number(shares[each.id] ?? 0)])), shadow: shadow || null } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['endpoints'] }),
  })
  return (
    <form aria-label="Split the traffic" className="flex flex-col gap-3 rounded-lg border border-line bg-panel p-4" onSubmit={(event) => { event.preventDefault(); split.mutate() }}>
      <div className="flex flex-wrap gap-4">
        {ready.map((each) => (
          <div key={each.id} className="w-48">
            <TextField label={`${harmless(each.model)}@${each.version}, start ${each.number}, percent`} type="number" min={0} max={100} required value={shares[each.id] ?? ''} onChange={(value) => setShares({ ...shares, [each.id]: value })} />
          </div>
        ))}
      </div>
      <div className="max-w-md">
        <Select label="Shadow" value={shadow} onChange={setShadow} options={[['', 'None'], ...ready.filter((each) => Number(shares[each.id] ?? 0) === 0).map((each) => [each.id, `${harmless(each.model)}@${each.version}, start ${each.number}`] as const)]} hint="It is asked likewise, and nobody gets its answers: how many differ stands under Metrics. It needs 0 percent." />
      </div>
      <div className="flex flex-wrap items-center gap-3">
        <Button look="main" type="submit" busy={split.isPending} disabled={sum !== 100}>Split the traffic</Button>
        <span role="status" className={sum === 100 ? 'text-muted' : 'text-warn'}>{sum} of 100 percent are given.</span>
      </div>
      {split.isError && <ProblemNote error={split.error} />}
    </form>
  )
}
