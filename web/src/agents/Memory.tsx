import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { EmptyState } from '../ui/EmptyState'
import { TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Time } from '../ui/Time'
import { agentRoute } from './route'

type Item = Schemas['Remembered']

/** What an agent remembers in a place: search it, pin it, have it forgotten. */
export function Memory({ agent }: { agent: string }) {
  const search = agentRoute.useSearch()
  const go = useNavigate()
  const cache = useQueryClient()
  const [typed, setTyped] = useState(search.q ?? '')
  const [where, setWhere] = useState<{ repo?: string; branch?: string }>({})
  const [gone, setGone] = useState<Item | null>(null)
  const query = { agent, repo_name: search.repo ?? null, branch: search.branch ?? null, q: search.q ?? null }
  const pin = useMutation({
    mutationFn: (item: Item) => data(api.POST('/v1/memory/items/{id}/pin', { params: { path: { id: item.id } }, body: { pinned: !item.pinned } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['memory'] }),
  })
  const find = (event: FormEvent) => {
    event.preventDefault()
    void go({ to: '/agents/$name', params: { name: agent }, search: { ...search, q: typed.trim() || undefined, repo: (where.repo ?? search.repo ?? '').trim() || undefined, branch: (where.branch ?? search.branch ?? '').trim() || undefined } })
  }
  return (
    <div className="flex flex-col gap-4">
      <form role="search" onSubmit={find} className="flex flex-wrap items-end gap-3">
        <TextField label="Repository" value={where.repo ?? search.repo ?? ''} onChange={(repo) => setWhere({ ...where, repo })} />
        <TextField label="Branch" required value={where.branch ?? search.branch ?? ''} onChange={(branch) => setWhere({ ...where, branch })} />
        <TextField label="What is asked for" value={typed} onChange={setTyped} />
        <Button type="submit" icon="search">Search</Button>
      </form>
      {!search.branch && <EmptyState title="What an agent remembers belongs to a branch: name it." command={`builderos memory items --agent ${agent} --branch <branch>`} />}
      {pin.isError && <ProblemNote error={pin.error} />}
      {search.branch && <Listing
        label="Memory"
        queryKey={['memory', query]}
        read={(cursor, signal) => data(api.GET('/v1/memory/items', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(item) => item.id}
        empty={`${harmless(agent)} remembers nothing here.`}
        command={`builderos memory remember --agent ${agent} "…"`}
        columns={[
          { id: 'body', title: 'What', width: 'minmax(18rem, 3fr)', cell: (item) => shownLine(item.body.replace(/\s+/g, ' '), 300) },
          { id: 'tier', title: 'Kind', width: '8rem', cell: (item) => item.tier.replace('_', ' ') },
          { id: 'shared', title: 'For', width: '7rem', cell: (item) => (item.shared ? 'all' : 'this branch') },
          { id: 'until', title: 'Until', width: '9rem', cell: (item) => (item.pinned ? 'pinned' : item.expires_at ? <Time at={item.expires_at} /> : 'for ever') },
          { id: 'at', title: 'Changed', width: '9rem', cell: (item) => <Time at={item.changed_at} /> },
          { id: 'acts', title: 'Acts', width: '12rem', cell: (item) => (
            <span className="flex gap-2">
              <Button small onClick={() => pin.mutate(item)}>{item.pinned ? 'Unpin' : 'Pin'}</Button>
              <Button small look="danger" onClick={() => setGone(item)}>Forget</Button>
            </span>
          ) },
        ]}
      />}
      {gone && (
        <Confirm open danger title="Have this forgotten?" act="Forget it" onClose={() => setGone(null)} run={async () => { await data(api.DELETE('/v1/memory/items/{id}', { params: { path: { id: gone.id } } })); await cache.invalidateQueries({ queryKey: ['memory'] }) }}>
          <p>{shownLine(gone.body, 500)}</p>
        </Confirm>
      )}
    </div>
  )
}
