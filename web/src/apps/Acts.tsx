import { useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { Button, buttonClass } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { Select, TextArea, TextField } from '../ui/Field'
import { Icon } from '../ui/Icon'
import { namesOf } from '../ui/names'
import { toast } from '../ui/toasts'
import { type One } from './Apps'

type Asked = 'release' | 'rollback' | 'stop' | 'change' | 'delete'

/** All that can be done to an app by whoever looks at it. */
export function Acts({ one }: { one: One }) {
  const may = useMay()
  const cache = useQueryClient()
  const go = useNavigate()
  const [asked, setAsked] = useState<Asked | null>(null)
  const [branch, setBranch] = useState('')
  const [reason, setReason] = useState('')
  const params = { params: { path: { id: one.id } } }
  const again = <T,>(call: Promise<T>) => call.then(() => cache.invalidateQueries({ queryKey: ['apps'] }))
  const close = () => setAsked(null)
  const manage = may('app.manage')
  const runs = one.state === 'active'
  return (
    <>
      {runs && one.current && may('app.open') && <Link to="/apps/$id/open" params={{ id: one.id }} target="_blank" rel="noopener" className={buttonClass('main')}><Icon name="external" /> Open</Link>}
      {runs && manage && <Button onClick={() => setAsked('release')}>Release</Button>}
      {runs && manage && one.current?.replaces && <Button icon="undo" onClick={() => setAsked('rollback')}>Roll back</Button>}
      {manage && <Button onClick={() => setAsked('change')}>Change</Button>}
      {runs && manage && <Button onClick={() => setAsked('stop')}>Stop</Button>}
      {!runs && manage && <Button onClick={() => void again(data(api.POST('/v1/apps/{id}/start', { ...params, body: {} }))).catch((error: unknown) => toast(error instanceof Error ? error.message : '', { tone: 'bad' }))}>Start</Button>}
      {manage && <Button look="danger" onClick={() => setAsked('delete')}>Delete</Button>}
      {asked === 'release' && (
        <Confirm open onClose={close} title="Release a commit" act="Release it" run={() => again(data(api.POST('/v1/apps/{id}/releases', { ...params, body: { branch: branch.trim() || null } })))}>
          <p>It takes over once it is well; until then the release before answers.</p>
          <TextField label="Branch" placeholder={one.source.branch ?? 'main'} value={branch} onChange={setBranch} />
        </Confirm>
      )}
      {asked === 'rollback' && (
        <Confirm open onClose={close} title="Have the release before live again?" act="Roll back" run={() => again(data(api.POST('/v1/apps/{id}/rollback', { ...params, body: { reason } })))}>
          <TextArea label="Why" value={reason} onChange={setReason} />
        </Confirm>
      )}
      {asked === 'change' && <Change one={one} onClose={close} />}
      <Confirm open={asked === 'stop'} onClose={close} title="Stop this app?" act="Stop it" run={() => again(data(api.POST('/v1/apps/{id}/stop', { ...params, body: {} })))}>
        <p>Nothing answers at its address until it is started again.</p>
      </Confirm>
      <Confirm open={asked === 'delete'} danger onClose={close} title="Delete this app?" act="Delete it" typed={one.name} run={async () => { await data(api.DELETE('/v1/apps/{id}', params)); await go({ to: '/apps' }); await cache.invalidateQueries({ queryKey: ['apps'] }) }}>
        <p>It is stopped for good, and its name is free again.</p>
      </Confirm>
    </>
  )
}

/** Whom it is for counts at once, the rest from the next release on. */
function Change({ one, onClose }: { one: One; onClose: () => void }) {
  const cache = useQueryClient()
  const [open, setOpen] = useState(one.policy.open ?? 'org')
  const [typed, setTyped] = useState({ roles: (one.policy.roles ?? []).join(', '), secrets: one.secrets.join(', '), network: one.network.join(', '), endpoints: one.endpoints.join(', '), models: one.models.join(', '), idle: String(one.idle_timeout) })
  const field = (name: keyof typeof typed) => ({ value: typed[name], onChange: (value: string) => setTyped({ ...typed, [name]: value }) })
  const change = async () => {
    const policy = { open, roles: namesOf(typed.roles), actors: one.policy.actors ?? [] }
    const body = { policy, secrets: namesOf(typed.secrets), network: namesOf(typed.network), endpoints: namesOf(typed.endpoints), models: namesOf(typed.models), idle_timeout: Number(typed.idle) }
    await data(api.POST('/v1/apps/{id}', { params: { path: { id: one.id } }, body }))
    await cache.invalidateQueries({ queryKey: ['apps'] })
  }
  return (
    <Confirm open onClose={onClose} title="Change the app" act="Keep it" run={change}>
      <Select label="For whom" value={open} onChange={(value) => setOpen(value === 'public' ? 'public' : 'org')} options={[['org', 'Members whom the policy lets'], ['public', 'Whoever reaches the door']]} />
      {open === 'org' && <TextField label="These roles alone, separated by commas" hint="All without." {...field('roles')} />}
      <TextField label="Secrets that it gets, separated by commas" hint="From the next release on." {...field('secrets')} />
      <TextField label="Hosts that it may reach, separated by commas" hint="From the next release on, where the policy lets it." {...field('network')} />
      <TextField label="Endpoints that it may call, separated by commas" hint="From the next release on." {...field('endpoints')} />
      <TextField label="Models that it may ask, separated by commas" hint="From the next release on." {...field('models')} />
      <TextField label="Seconds without a request after which it sleeps; 0: never" type="number" min={0} max={604_800} {...field('idle')} />
    </Confirm>
  )
}
