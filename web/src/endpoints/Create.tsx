import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Select, TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import type { One } from './Endpoints'
import { ENV_WORDS, ENVS } from './route'

/** A new endpoint with its first version. */
export function Create({ onClose }: { onClose: () => void }) {
  const [typed, setTyped] = useState({ name: '', model: '', runtime: '', profile: '', perMinute: '', roles: '' })
  const [env, setEnv] = useState<One['env']>('dev')
  const cache = useQueryClient()
  const go = useNavigate()
  const make = useMutation({
    mutationFn: () => {
      const roles = typed.roles.split(',').map((one) => one.trim()).filter(Boolean)
      const policy = { roles, actors: [], per_minute: typed.perMinute === '' ? null : Number(typed.perMinute) }
      return data(api.POST('/v1/endpoints', { body: { name: typed.name, model_version: typed.model.trim(), env, policy, runtime: typed.runtime.trim(), profile: typed.profile.trim() } }))
    },
    onSuccess: async (made) => {
      await cache.invalidateQueries({ queryKey: ['endpoints'] })
      await go({ to: '/endpoints/$id', params: { id: made.id } })
    },
  })
  const field = (name: keyof typeof typed) => ({ value: typed[name], onChange: (value: string) => setTyped({ ...typed, [name]: value }) })
  return (
    <Dialog open onClose={onClose} title="New endpoint" actions={<Button look="main" type="submit" form="endpoint" busy={make.isPending}>Make it</Button>}>
      <form id="endpoint" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); make.mutate() }}>
        <TextField label="Name" required pattern="[a-z0-9][a-z0-9\-]{0,62}" hint="Small letters, digits and -." {...field('name')} />
        <TextField label="Version" required minLength={3} placeholder="iris@3" hint="name@3, or name@alias." {...field('model')} />
        <Select label="Environment" value={env} onChange={(value) => setEnv(ENVS.find((one) => one === value) ?? 'dev')} options={ENVS.map((one) => [one, ENV_WORDS[one]] as const)} hint="Production answers with what is in production alone." />
        <TextField label="Runtime" hint="One that has the model's libraries; the first approved one without." {...field('runtime')} />
        <TextField label="Profile" {...field('profile')} />
        <TextField label="Roles that may call it, separated by commas" hint="All without." {...field('roles')} />
        <TextField label="Calls a minute, at most" type="number" min={1} {...field('perMinute')} />
      </form>
      {make.isError && <ProblemNote error={make.error} />}
    </Dialog>
  )
}
