import { useQuery, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Decision } from '../approvals/Decision'
import { Lineage } from '../lineage/Lineage'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { short, type Value } from '../ui/curves'
import { Facts } from '../ui/Facts'
import { TextArea } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table } from '../ui/Table'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { KIND_WORDS, said } from './Models'
import { promotionRoute } from './route'

export const Route = createLazyRoute('/promotions/$id')({ component: Promotion })

type One = Schemas['Promotion']

function Promotion() {
  const { id } = promotionRoute.useParams()
  const found = useQuery({
    queryKey: ['models', 'promotion', id],
    queryFn: ({ signal }) => data(api.GET('/v1/promotions/{id}', { params: { path: { id } }, signal })),
  })
  if (found.isPending) return <Page title="Promotion"><Waiting /></Page>
  if (found.isError) return <Page title="Promotion"><ProblemNote error={found.error} again={() => void found.refetch()} /></Page>
  return <Shown one={found.data} />
}

function Shown({ one }: { one: One }) {
  const may = useMay()
  const cache = useQueryClient()
  const [asking, setAsking] = useState(false)
  const [reason, setReason] = useState('')
  const from = one.from as Record<string, unknown>
  const rollBack = async () => {
    await data(api.POST('/v1/promotions/{id}/rollback', { params: { path: { id: one.id } }, body: { reason } }))
    await cache.invalidateQueries({ queryKey: ['models'] })
  }
  return (
    <Page
      title={harmless(said(one))}
      tab="Promotion"
      below={<Link to="/models" search={{ tab: 'promotions' }} className="text-accent underline">All promotions</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos model promotion ${one.id}`, method: 'GET', path: `/v1/promotions/${one.id}`, mcp: { name: 'showPromotion', arguments: { id: one.id } } }} />
          {one.state === 'applied' && one.kind !== 'sandbox_to_pr' && may('registry.promote') && <Button icon="undo" onClick={() => setAsking(true)}>Roll back</Button>}
        </>
      }
    >
      {one.approval_id && <Decision id={one.approval_id} onDecided={() => void cache.invalidateQueries({ queryKey: ['models'] })} />}
      <Facts
        label="The promotion"
        of={[
          ['State', <Status key="state" of={one.state} />],
          ['Kind', KIND_WORDS[one.kind]],
          ['Model', typeof from.name === 'string' && typeof from.version === 'number' && <Link key="model" to="/models/$name" params={{ name: from.name }} search={{ version: from.version }} className="text-accent underline">{harmless(from.name)}@{from.version}</Link>],
          ['Why', one.reason],
          ['Asked', <Time key="asked" at={one.created_at} />],
          ['Changed', <Time key="changed" at={one.updated_at} />],
        ]}
      />
      <Compared shown={one.shown as Side} />
      {typeof from.version_id === 'string' && <Section title="Lineage"><Lineage id={from.version_id} /></Section>}
      {asking && (
        <Confirm open onClose={() => setAsking(false)} title="Have things as they were before?" act="Roll back" {...(one.kind === 'stage_to_prod' ? { typed: 'production' } : {})} run={rollBack}>
          <p>{one.kind === 'stage_to_prod' ? 'This version is staged again; the one before comes back into production.' : 'The version that was made is retired.'}</p>
          <TextArea label="Why" value={reason} onChange={setReason} maxLength={2000} />
        </Confirm>
      )}
    </Page>
  )
}

interface Pair {
  name: string
  before: Value | string | null
  after: Value | string | null
  change: number | null
}

/** What was shown to whoever decides, as the server keeps it. */
interface Side {
  before?: number | null
  run_id?: string | null
  metrics?: Pair[]
  params?: Pair[]
  datasets?: string[]
  code_sha?: string | null
  evals?: { suite: string; verdict: string; pass_rate: number }[]
}

const shownValue = (value: Pair['before']): string => (value === null ? '' : typeof value === 'number' ? short(value) : shownLine(String(value), 200))

function Compared({ shown }: { shown: Side }) {
  const before = shown.before === null || shown.before === undefined ? 'Before' : `Before, version ${shown.before}`
  return (
    <>
      <div className="grid gap-5 lg:grid-cols-2">
        {([['Metrics', shown.metrics ?? []], ['Params', shown.params ?? []]] as const).map(([title, pairs]) => (
          <Section key={title} title={title}>
            {pairs.length === 0 ? <p className="text-muted">None is known.</p> : (
              <Table
                label={`${title} before and after`}
                rows={pairs}
                keyOf={(pair) => pair.name}
                className="max-h-[40vh]"
                columns={[
                  { id: 'name', title: title.slice(0, -1), width: 'minmax(8rem, 1fr)', cell: (pair) => <bdi>{shownLine(pair.name, 200)}</bdi> },
                  { id: 'before', title: before, width: '7rem', align: 'right', cell: (pair) => <bdi>{shownValue(pair.before)}</bdi> },
                  { id: 'after', title: 'After', width: '7rem', align: 'right', cell: (pair) => <bdi className="font-medium">{shownValue(pair.after)}</bdi> },
                  { id: 'change', title: 'Change', width: '6rem', align: 'right', cell: (pair) => (pair.change === null ? (pair.before === pair.after ? '' : 'differs') : `${pair.change > 0 ? '+' : ''}${short(pair.change)}`) },
                ]}
              />
            )}
          </Section>
        ))}
      </div>
      <Facts
        label="What else was shown"
        of={[
          ['Run', shown.run_id && <Link key="run" to="/experiment-runs/$id" params={{ id: shown.run_id }} className="text-accent underline">{shown.run_id}</Link>],
          ['Datasets', (shown.datasets ?? []).join(', ')],
          ['Code', shown.code_sha],
          ['Evals', (shown.evals ?? []).length > 0 && <ul key="evals">{shown.evals?.map((one) => <li key={one.suite}>{harmless(one.suite)}: {harmless(one.verdict)}, {Math.round(one.pass_rate * 100)} %</li>)}</ul>],
        ]}
      />
    </>
  )
}
