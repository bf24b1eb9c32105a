import { useQueryClient } from '@tanstack/react-query'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { Dialog } from '../ui/Dialog'
import { Checkbox, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'
import { Once } from './parts'

const SCOPES = ['read', 'write', 'promote', 'approve', 'admin'] as const
type Scope = (typeof SCOPES)[number]
type Kind = 'token' | 'key'
interface Row {
  id: string
  label: string
  scopes: string[]
  created_at: string
  expires_at: string | null
}

/** The caller's own tokens, and the API keys of the organisation. */
export function Credentials() {
  const may = useMay()
  const [making, setMaking] = useState<Kind | null>(null)
  const [ending, setEnding] = useState<{ kind: Kind; row: Row } | null>(null)
  const cache = useQueryClient()
  const columns = (kind: Kind, can: boolean) => [
    { id: 'label', title: 'Name', width: 'minmax(12rem, 1fr)', cell: (row: Row) => harmless(row.label) },
    { id: 'scopes', title: 'May', width: 'minmax(12rem, 1fr)', cell: (row: Row) => row.scopes.join(', ') },
    { id: 'made', title: 'Made', width: '9rem', cell: (row: Row) => <Time at={row.created_at} /> },
    { id: 'until', title: 'Until', width: '9rem', cell: (row: Row) => (row.expires_at ? <Time at={row.expires_at} /> : 'for ever') },
    ...(can ? [{ id: 'acts', title: 'Acts', width: '7rem', cell: (row: Row) => <Button small look="danger" onClick={() => setEnding({ kind, row })}>End</Button> }] : []),
  ]
  return (
    <div className="flex flex-col gap-5">
      <Section title="Your tokens" actions={may('token.create') && <Button icon="plus" onClick={() => setMaking('token')}>New token</Button>}>
        <Listing label="Tokens of yours" queryKey={['credentials', 'tokens']} read={(_, signal) => data(api.GET('/v1/tokens', { signal }))} keyOf={(row) => row.id} empty="You have no token." command="builderos token create laptop --scope read" call={{ cli: 'builderos token list', method: 'GET', path: '/v1/tokens', mcp: { name: 'listTokens', arguments: {} } }} columns={columns('token', may('me.manage'))} />
      </Section>
      {may('org.read') && (
        <Section title="API keys" actions={may('credential.create') && <Button icon="plus" onClick={() => setMaking('key')}>New key</Button>}>
          <Listing label="Live keys" queryKey={['credentials', 'keys']} read={(_, signal) => data(api.GET('/v1/api-keys', { signal }))} keyOf={(row) => row.id} empty="There is no API key." command="builderos key create nightly --scope read" call={{ cli: 'builderos key list', method: 'GET', path: '/v1/api-keys', mcp: { name: 'listKeys', arguments: {} } }} columns={columns('key', may('credential.create'))} />
        </Section>
      )}
      {making && <Make kind={making} onClose={() => setMaking(null)} />}
      {ending && (
        <Confirm
          open
          danger
          title={`End ${harmless(ending.row.label)}?`}
          act="End it"
          onClose={() => setEnding(null)}
          run={async () => {
            const params = { params: { path: { id: ending.row.id } } }
            await (ending.kind === 'key' ? data(api.DELETE('/v1/api-keys/{id}', params)) : data(api.DELETE('/v1/tokens/{id}', params)))
            await cache.invalidateQueries({ queryKey: ['credentials'] })
          }}
        >
          <p>Whatever uses it is refused from now on.</p>
        </Confirm>
      )}
    </div>
  )
}

function Make({ kind, onClose }: { kind: Kind; onClose: () => void }) {
  const cache = useQueryClient()
  const [label, setLabel] = useState('')
  const [scopes, setScopes] = useState<readonly Scope[]>(['read'])
  const [until, setUntil] = useState('')
  const make = useMutation({
    mutationFn: async () => {
      const body = { label, scopes: [...scopes], expires_at: until ? `${until}T00:00:00Z` : null }
      return kind === 'key' ? (await data(api.POST('/v1/api-keys', { body }))).api_key : (await data(api.POST('/v1/tokens', { body }))).token
    },
    onSuccess: () => cache.invalidateQueries({ queryKey: ['credentials'] }),
  })
  const what = kind === 'key' ? 'API key' : 'token'
  if (make.data) return <Once what={`The ${what} ${label}`} secret={make.data} onClose={onClose} />
  return (
    <Dialog open onClose={onClose} title={`New ${what}`} actions={<Button look="main" type="submit" form="make" busy={make.isPending} disabled={scopes.length === 0}>Make it</Button>}>
      <form id="make" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); make.mutate() }}>
        <TextField label="Name" required value={label} onChange={setLabel} hint="What it is for." />
        <fieldset className="flex flex-col gap-1">
          <legend className="text-sm font-medium">It may</legend>
          {SCOPES.map((scope) => (
            <Checkbox key={scope} label={scope} checked={scopes.includes(scope)} onChange={(on) => setScopes(on ? [...scopes, scope] : scopes.filter((each) => each !== scope))} />
          ))}
        </fieldset>
        <TextField label="Until" type="date" value={until} onChange={setUntil} />
      </form>
      {make.isError && <ProblemNote error={make.error} />}
    </Dialog>
  )
}
