import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import type { One } from './Endpoints'

/** Who may call it, how many processes answer, and, for whom that is to be seen, which calls are `kept`. */
export function Settings({ one, kept, onClose }: { one: One; kept: boolean; onClose: () => void }) {
  const cache = useQueryClient()
  const [typed, setTyped] = useState({
    roles: (one.policy.roles ?? []).join(', '), perMinute: String(one.policy.per_minute ?? ''),
    least: String(one.scaling.min_replicas ?? 1), most: String(one.scaling.max_replicas ?? 1), target: String(one.scaling.target ?? 4), quiet: String(one.scaling.quiet_s ?? 300),
    rate: String((one.payloads.rate ?? 0) * 100), days: String(one.payloads.keep_days ?? 7),
  })
  const field = (name: keyof typeof typed) => ({ value: typed[name], onChange: (value: string) => setTyped({ ...typed, [name]: value }) })
  const change = useMutation({
    mutationFn: () => {
      const roles = typed.roles.split(',').map((each) => each.trim()).filter(Boolean)
      return data(api.POST('/v1/endpoints/{id}/settings', {
        params: { path: { id: one.id } },
        body: {
          policy: { ...one.policy, roles, per_minute: typed.perMinute === '' ? null : Number(typed.perMinute) },
          scaling: { min_replicas: Number(typed.least), max_replicas: Number(typed.most), target: Number(typed.target), quiet_s: Number(typed.quiet) },
          ...(kept ? { payloads: { ...one.payloads, rate: Number(typed.rate) / 100, keep_days: Number(typed.days) } } : {}),
        },
      }))
    },
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['endpoints'] })
      onClose()
    },
  })
  return (
    <Dialog open onClose={onClose} title="Settings of this endpoint" actions={<Button look="main" type="submit" form="settings" busy={change.isPending}>Change them</Button>}>
      <form id="settings" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); change.mutate() }}>
        <TextField label="Roles that may call it, separated by commas" hint="All without." {...field('roles')} />
        <TextField label="Calls a minute, at most" type="number" min={1} {...field('perMinute')} />
        <div className="grid gap-3 sm:grid-cols-2">
          <TextField label="Processes, at least" type="number" min={0} required hint="0: none while nobody calls." {...field('least')} />
          <TextField label="Processes, at most" type="number" min={1} required {...field('most')} />
          <TextField label="Another one from so many calls at once" type="number" min={1} required {...field('target')} />
          <TextField label="One fewer after seconds of quiet" type="number" min={1} step="any" required {...field('quiet')} />
          {kept && <TextField label="Percent of calls that are kept" type="number" min={0} max={100} step="any" required hint="What was asked and answered, without secrets that are known." {...field('rate')} />}
          {kept && <TextField label="Days that they are kept" type="number" min={1} max={90} required {...field('days')} />}
        </div>
      </form>
      {change.isError && <ProblemNote error={change.error} />}
    </Dialog>
  )
}
