import { useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { Facts } from '../ui/Facts'
import { Listing } from '../ui/Listing'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Filters, Once } from './parts'
import { adminRoute } from './route'

type Sandbox = Schemas['Sandbox']
type Act = 'archive' | 'renew' | 'rotate' | 'delete'
const STATES = ['active', 'idle', 'expired', 'archived', 'deleted'] as const
const WORDS: Record<Act, [title: string, act: string, below: string]> = {
  archive: ['Put away', 'Put it away', 'Its token works no more until an owner renews it. Nothing is lost.'],
  renew: ['Renew', 'Renew it', 'A new token is made; the one so far works no more.'],
  rotate: ['New token for', 'Make a new token', 'The token so far works no more.'],
  delete: ['Delete', 'Delete it', 'A backup of the branch is made first.'],
}

/** All workspaces of the organisation. */
export function Sandboxes() {
  const search = adminRoute.useSearch()
  const [shown, setShown] = useState<Sandbox | null>(null)
  const [secret, setSecret] = useState<string | null>(null)
  const state = STATES.find((each) => each === search.state) ?? null
  const query = { repo_name: search.repo ?? null, state }
  return (
    <div className="flex flex-col gap-4">
      <Filters fields={[['repo', 'Repository']]}>
        <nav aria-label="Which sandboxes" className="flex flex-wrap gap-1">
          {[null, ...STATES].map((each) => (
            <Link key={each ?? 'all'} to="/admin" search={{ ...search, state: each ?? undefined }} aria-current={each === state ? 'true' : undefined} className={`rounded-full border px-3 py-0.5 text-sm ${each === state ? 'border-accent font-medium text-accent' : 'border-line text-muted hover:text-text'}`}>
              {each ?? 'all'}
            </Link>
          ))}
        </nav>
      </Filters>
      <Listing
        label="Sandboxes"
        queryKey={['sandboxes', query]}
        read={(cursor, signal) => data(api.GET('/v1/sandboxes', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(box) => box.id}
        onOpen={setShown}
        empty="There is no such sandbox."
        command="builderos sandbox create"
        call={{ cli: 'builderos sandbox list', method: 'GET', path: '/v1/sandboxes', mcp: { name: 'listSandboxes', arguments: query } }}
        columns={[
          { id: 'branch', title: 'Branch', width: 'minmax(14rem, 1fr)', cell: (box) => <button type="button" className="text-accent underline" onClick={() => setShown(box)}>{harmless(box.branch)}</button> },
          { id: 'state', title: 'State', width: '8rem', cell: (box) => <Status of={box.state} /> },
          { id: 'active', title: 'Last active', width: '9rem', cell: (box) => <Time at={box.last_active_at} /> },
          { id: 'made', title: 'Made', width: '9rem', cell: (box) => <Time at={box.created_at} /> },
          { id: 'until', title: 'Until', width: '9rem', cell: (box) => (box.expires_at ? <Time at={box.expires_at} /> : 'for ever') },
        ]}
      />
      {shown && <One box={shown} onSecret={setSecret} onClose={() => setShown(null)} />}
      <Once what="The new token" secret={secret} onClose={() => setSecret(null)} />
    </div>
  )
}

/** One workspace, and what the caller may do to it. */
function One({ box, onSecret, onClose }: { box: Sandbox; onSecret: (token: string | null) => void; onClose: () => void }) {
  const may = useMay(box.id)
  const cache = useQueryClient()
  const [asked, setAsked] = useState<Act | null>(null)
  const open = box.state === 'active' || box.state === 'idle'
  const acts: Act[] = box.state === 'deleted' ? [] : [
    ...(open && may('sandbox.archive') ? (['archive'] as const) : []),
    ...(open && may('sandbox.rotate_token') ? (['rotate'] as const) : []),
    ...(!open && may('sandbox.renew') ? (['renew'] as const) : []),
    ...(may('sandbox.delete') ? (['delete'] as const) : []),
  ]
  const run = async (act: Act) => {
    const params = { path: { id: box.id } }
    if (act === 'archive') await data(api.POST('/v1/sandboxes/{id}/archive', { params, body: {} }))
    else if (act === 'delete') await data(api.DELETE('/v1/sandboxes/{id}', { params }))
    else onSecret((await data(api.POST('/v1/sandboxes/{id}/token', { params, body: { action: act } }))).reuse_token)
    await cache.invalidateQueries({ queryKey: ['sandboxes'] })
    onClose()
  }
  if (asked) {
    return (
      <Confirm open danger={asked === 'delete'} title={`${WORDS[asked][0]} ${harmless(box.branch)}?`} act={WORDS[asked][1]} onClose={() => setAsked(null)} run={() => run(asked)} {...(asked === 'delete' ? { typed: box.branch } : {})}>
        <p>{WORDS[asked][2]}</p>
      </Confirm>
    )
  }
  return (
    <Dialog
      open
      onClose={onClose}
      title={harmless(box.branch)}
      actions={acts.map((act) => (
        <Button key={act} look={act === 'delete' ? 'danger' : 'plain'} onClick={() => setAsked(act)}>
          {act === 'rotate' ? 'New token' : WORDS[act][0]}
        </Button>
      ))}
    >
      <Facts label="The workspace" of={[['State', <Status key="state" of={box.state} />], ['Profile', box.profile], ['Last active', <Time key="active" at={box.last_active_at} />], ['Made', <Time key="made" at={box.created_at} />], ['Until', box.expires_at ? <Time key="until" at={box.expires_at} /> : 'for ever'], ['Id', box.id]]} />
      <div>
        <CopyAs call={{ cli: `builderos sandbox show ${box.branch}`, method: 'GET', path: `/v1/sandboxes/${box.id}`, mcp: { name: 'getSandbox', arguments: { id: box.id } } }} />
      </div>
    </Dialog>
  )
}
