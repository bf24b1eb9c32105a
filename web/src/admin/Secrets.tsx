import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { Dialog } from '../ui/Dialog'
import { Select, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Findings } from './Findings'

type Secret = Schemas['Secret']
type Scope = Secret['scope']
const SCOPES: readonly (readonly [Scope, string])[] = [['org', 'The whole organisation'], ['project', 'A project'], ['environment', 'An environment'], ['repository', 'A repository']]
const KEY = ['secrets']

/** Names of what the vault keeps: a value goes in and never comes out. */
export function Secrets() {
  const can = useMay()('secret.manage')
  const cache = useQueryClient()
  const [setting, setSetting] = useState<Secret | 'new' | null>(null)
  const [gone, setGone] = useState<Secret | null>(null)
  const change = useMutation({
    mutationFn: (one: Secret) => data(api.POST('/v1/secrets/{id}', { params: { path: { id: one.id } }, body: { state: one.state === 'active' ? 'disabled' : 'active' } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: KEY }),
  })
  return (
    <div className="flex flex-col gap-6">
      <Section title="Secrets" actions={can && <Button icon="plus" onClick={() => setSetting('new')}>Keep a secret</Button>}>
        {change.isError && <ProblemNote error={change.error} />}
        <Listing
          label="All secrets"
          queryKey={KEY}
          read={(_, signal) => data(api.GET('/v1/secrets', { signal }))}
          keyOf={(one) => one.id}
          empty="The vault is empty."
          command="builderos secret set SMTP_PASSWORD"
          call={{ cli: 'builderos secret list', method: 'GET', path: '/v1/secrets', mcp: { name: 'listSecrets', arguments: {} } }}
          columns={[
            { id: 'name', title: 'Name', width: 'minmax(12rem, 1fr)', cell: (one) => <code>{harmless(one.key_name)}</code> },
            { id: 'scope', title: 'For', width: 'minmax(10rem, 1fr)', cell: (one) => (one.scope === 'org' ? 'the whole organisation' : `${one.scope} ${harmless(one.of)}`) },
            { id: 'what', title: 'What it is', width: 'minmax(12rem, 1fr)', cell: (one) => harmless(one.description) },
            { id: 'state', title: 'State', width: '8rem', cell: (one) => <Status of={one.state} /> },
            { id: 'version', title: 'Version', width: '6rem', align: 'right', cell: (one) => one.version },
            { id: 'changed', title: 'Changed', width: '9rem', cell: (one) => <Time at={one.changed_at} /> },
            { id: 'used', title: 'Last used', width: '9rem', cell: (one) => one.last_used_at && <Time at={one.last_used_at} /> },
            ...(can ? [{ id: 'acts', title: 'Acts', width: '19rem', cell: (one: Secret) => (
              <span className="flex gap-2">
                <Button small onClick={() => setSetting(one)}>New value</Button>
                <Button small onClick={() => change.mutate(one)}>{one.state === 'active' ? 'Switch off' : 'Switch on'}</Button>
                <Button small look="danger" onClick={() => setGone(one)}>Delete</Button>
              </span>
            ) }] : []),
          ]}
        />
      </Section>
      <Findings can={can} />
      {setting && <Put secret={setting === 'new' ? null : setting} onClose={() => setSetting(null)} />}
      {gone && (
        <Confirm open danger title={`Delete ${gone.key_name}?`} act="Delete it" typed={gone.key_name} onClose={() => setGone(null)} run={async () => { await data(api.DELETE('/v1/secrets/{id}', { params: { path: { id: gone.id } } })); await cache.invalidateQueries({ queryKey: KEY }) }}>
          <p>It is destroyed with all its versions. Runs that want it fail from now on.</p>
        </Confirm>
      )}
    </div>
  )
}

function Put({ secret, onClose }: { secret: Secret | null; onClose: () => void }) {
  const cache = useQueryClient()
  const [name, setName] = useState(secret?.key_name ?? '')
  const [scope, setScope] = useState<Scope>(secret?.scope ?? 'org')
  const [of, setOf] = useState(secret?.of ?? '')
  const [description, setDescription] = useState(secret?.description ?? '')
  const [value, setValue] = useState('')
  const send = useMutation({
    // A new value is bound to the version that was seen: two who rotate at once do not undo each other unseen.
    mutationFn: () => data(api.POST('/v1/secrets', { body: { key_name: name, value, scope, of, description, expected_version: secret?.version ?? 0 } })),
    onSuccess: async (kept) => {
      setValue('')
      toast(`${kept.key_name} is kept, version ${kept.version}.`)
      await cache.invalidateQueries({ queryKey: KEY })
      onClose()
    },
  })
  return (
    <Dialog open onClose={onClose} title={secret ? `A new value for ${secret.key_name}` : 'Keep a secret'} actions={<Button look="main" type="submit" form="secret" busy={send.isPending}>Keep it</Button>}>
      <form id="secret" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); send.mutate() }}>
        {!secret && (
          <>
            <TextField label="Name" required value={name} onChange={setName} hint="e.g. SMTP_PASSWORD" autoComplete="off" />
            <Select label="For" value={scope} onChange={(next) => setScope(SCOPES.find(([each]) => each === next)?.[0] ?? 'org')} options={SCOPES} />
            {scope !== 'org' && <TextField label="Which one" required value={of} onChange={setOf} />}
          </>
        )}
        <TextField label="Value" type="password" required value={value} onChange={setValue} autoComplete="new-password" hint="It is encrypted at once and shown to nobody again." />
        <TextField label="What it is" value={description} onChange={setDescription} />
      </form>
      {send.isError && <ProblemNote error={send.error} />}
    </Dialog>
  )
}
