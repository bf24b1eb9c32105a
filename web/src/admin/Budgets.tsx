import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Select, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'

type Budget = Schemas['Budget']
const METERS = [['requests', 'Requests'], ['writes', 'Writes'], ['commits', 'Commits'], ['sandboxes', 'Sandboxes'], ['cpu_seconds', 'Processor seconds']] as const
const PROJECT_METERS = [['cpu_seconds', 'Processor seconds'], ['memory_hours', 'Hours of a GiB of memory'], ['gpu_hours', 'GPU hours'], ['tokens', 'Tokens of models']] as const
const NAMES = new Map<string, string>([...METERS, ...PROJECT_METERS])
const PERIODS = [['day', 'a day'], ['month', 'a month']] as const

/** How much may be used, and how far each of it is. */
export function Budgets() {
  const can = useMay()('budget.write')
  const [changed, setChanged] = useState<Budget | 'new' | null>(null)
  return (
    <Section title="Budgets" actions={can && <Button icon="plus" onClick={() => setChanged('new')}>Set a budget</Button>}>
      <Listing
        label="All budgets"
        queryKey={['budgets']}
        read={(_, signal) => data(api.GET('/v1/budgets', { signal }))}
        keyOf={(one) => `${one.repo_id ?? ''} ${one.meter} ${one.period}`}
        empty="Nothing is limited."
        command="builderos budget set requests day 100000"
        call={{ cli: 'builderos budget list', method: 'GET', path: '/v1/budgets', mcp: { name: 'listBudgets', arguments: {} } }}
        columns={[
          { id: 'project', title: 'Project', width: 'minmax(8rem, 1fr)', cell: (one) => <bdi>{one.repo_name ?? 'All'}</bdi> },
          { id: 'meter', title: 'What', width: 'minmax(12rem, 1fr)', cell: (one) => NAMES.get(one.meter) ?? one.meter },
          { id: 'period', title: 'Per', width: '7rem', cell: (one) => one.period },
          { id: 'used', title: 'Used', width: '8rem', align: 'right', cell: (one) => one.used.toLocaleString('en') },
          { id: 'amount', title: 'Of', width: '8rem', align: 'right', cell: (one) => one.amount.toLocaleString('en') },
          { id: 'percent', title: 'How far', width: '12rem', cell: (one) => <meter min={0} max={100} high={80} value={Math.min(100, one.percent)} aria-label={`${one.percent} %`} className="w-32" /> },
          { id: 'level', title: 'State', width: '8rem', cell: (one) => <Status of={one.level} /> },
          { id: 'resets', title: 'Anew', width: '9rem', cell: (one) => <Time at={one.resets_at} /> },
          ...(can ? [{ id: 'acts', title: 'Acts', width: '8rem', cell: (one: Budget) => <Button small onClick={() => setChanged(one)}>Change</Button> }] : []),
        ]}
      />
      {changed && <Change budget={changed === 'new' ? null : changed} onClose={() => setChanged(null)} />}
    </Section>
  )
}

function Change({ budget, onClose }: { budget: Budget | null; onClose: () => void }) {
  const cache = useQueryClient()
  const [meter, setMeter] = useState<Budget['meter']>(budget?.meter ?? 'requests')
  const [period, setPeriod] = useState<Budget['period']>(budget?.period ?? 'day')
  const [amount, setAmount] = useState(String(budget?.amount ?? ''))
  const [project, setProject] = useState(budget?.repo_name ?? '')
  const meters = project ? PROJECT_METERS : METERS
  const rename = (name: string) => {
    setProject(name)
    if (!(name ? PROJECT_METERS : METERS).some(([known]) => known === meter)) setMeter('cpu_seconds')
  }
  const send = useMutation({
    mutationFn: (value: number | null) => data(api.PUT('/v1/budgets', { body: { meter, period, amount: value, ...(project ? { repo_name: project } : {}) } })),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['budgets'] })
      onClose()
    },
  })
  return (
    <Dialog
      open
      onClose={onClose}
      title={budget ? 'Change the budget' : 'Set a budget'}
      actions={
        <>
          {budget && (
            <Button look="danger" busy={send.isPending} onClick={() => send.mutate(null)}>
              No limit any more
            </Button>
          )}
          <Button look="main" type="submit" form="budget" busy={send.isPending}>
            Set it
          </Button>
        </>
      }
    >
      <form id="budget" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); send.mutate(Number(amount)) }}>
        <TextField label="Project" value={project} disabled={budget !== null} onChange={rename} hint="A repository by name; empty: the whole organisation." />
        <Select label="What" value={meter} disabled={budget !== null} onChange={(value) => setMeter(value as Budget['meter'])} options={meters} />
        <Select label="Per" value={period} disabled={budget !== null} onChange={(value) => setPeriod(value as Budget['period'])} options={PERIODS} />
        <TextField label="At most" type="number" min={0} step="any" required value={amount} onChange={setAmount} hint="You are told at 80 %; at 100 % it is refused." />
      </form>
      {send.isError && <ProblemNote error={send.error} />}
    </Dialog>
  )
}
