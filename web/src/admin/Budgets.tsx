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
        keyOf={(one) => `${one.meter} ${one.period}`}
        empty="Nothing is limited."
        command="builderos budget set requests day 100000"
        call={{ cli: 'builderos budget list', method: 'GET', path: '/v1/budgets', mcp: { name: 'listBudgets', arguments: {} } }}
        columns={[
          { id: 'meter', title: 'What', width: 'minmax(12rem, 1fr)', cell: (one) => METERS.find(([name]) => name === one.meter)?.[1] ?? one.meter },
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
  const send = useMutation({
    mutationFn: (value: number | null) => data(api.PUT('/v1/budgets', { body: { meter, period, amount: value } })),
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
        <Select label="What" value={meter} disabled={budget !== null} onChange={(value) => setMeter(value as Budget['meter'])} options={METERS} />
        <Select label="Per" value={period} disabled={budget !== null} onChange={(value) => setPeriod(value as Budget['period'])} options={PERIODS} />
        <TextField label="At most" type="number" min={0} required value={amount} onChange={setAmount} hint="You are told at 80 %; at 100 % it is refused." />
      </form>
      {send.isError && <ProblemNote error={send.error} />}
    </Dialog>
  )
}
