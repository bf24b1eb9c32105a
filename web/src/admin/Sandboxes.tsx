import { useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
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
  const may = useMay()
  const cache = useQueryClient()
  const [asked, setAsked] = useState<{ act: Act; box: Sandbox } | null>(null)
  const [secret, setSecret] = useState<string | null>(null)
  const state = STATES.find((each) => each === search.state) ?? null
  const query = { repo_name: search.repo ?? null, state }
  const acts = (box: Sandbox): Act[] => {
    if (box.state === 'deleted') return []
    const open = box.state === 'active' || box.state === 'idle'
    return [...(open && may('sandbox.archive') ? (['archive'] as const) : []), ...(may('sandbox.renew') ? [open ? ('rotate' as const) : ('renew' as const)] : []), ...(may('sandbox.delete') ? (['delete'] as const) : [])]
  }
  const run = async () => {
    if (!asked) return
    const params = { path: { id: asked.box.id } }
    if (asked.act === 'archive') await data(api.POST('/v1/sandboxes/{id}/archive', { params, body: {} }))
    else if (asked.act === 'delete') await data(api.DELETE('/v1/sandboxes/{id}', { params }))
    else setSecret((await data(api.POST('/v1/sandboxes/{id}/token', { params, body: { action: asked.act } }))).reuse_token)
    await cache.invalidateQueries({ queryKey: ['sandboxes'] })
  }
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
        empty="There is no such sandbox."
        command="builderos sandbox create"
        columns={[
          { id: 'branch', title: 'Branch', width: 'minmax(14rem, 1fr)', cell: (box) => harmless(box.branch) },
          { id: 'state', title: 'State', width: '8rem', cell: (box) => <Status of={box.state} /> },
          { id: 'active', title: 'Last active', width: '9rem', cell: (box) => <Time at={box.last_active_at} /> },
          { id: 'made', title: 'Made', width: '9rem', cell: (box) => <Time at={box.created_at} /> },
          { id: 'until', title: 'Until', width: '9rem', cell: (box) => (box.expires_at ? <Time at={box.expires_at} /> : 'for ever') },
          { id: 'acts', title: 'Acts', width: '18rem', cell: (box) => (
            <span className="flex gap-2">
              {acts(box).map((act) => (
                <Button key={act} small look={act === 'delete' ? 'danger' : 'plain'} onClick={() => setAsked({ act, box })}>
                  {act === 'rotate' ? 'New token' : WORDS[act][0]}
                </Button>
              ))}
            </span>
          ) },
        ]}
      />
      {asked && (
        <Confirm open danger={asked.act === 'delete'} title={`${WORDS[asked.act][0]} ${harmless(asked.box.branch)}?`} act={WORDS[asked.act][1]} onClose={() => setAsked(null)} run={run} {...(asked.act === 'delete' ? { typed: asked.box.branch } : {})}>
          <p>{WORDS[asked.act][2]}</p>
        </Confirm>
      )}
      <Once what="The new token" secret={secret} onClose={() => setSecret(null)} />
    </div>
  )
}
