import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useBranches } from '../api/branches'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { EmptyState } from '../ui/EmptyState'
import { Code, Facts, json } from '../ui/Facts'
import { Select, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Time } from '../ui/Time'
import { agentRoute } from './route'

type Item = Schemas['Remembered']

/** What an agent remembers on a branch: search it, pin it, give it an end, have it forgotten. */
export function Memory({ agent }: { agent: string }) {
  const search = agentRoute.useSearch()
  const go = useNavigate()
  const [typed, setTyped] = useState(search.q ?? '')
  const [where, setWhere] = useState<{ repo?: string; branch?: string }>({})
  const [shown, setShown] = useState<Item | null>(null)
  const { repo: repoId, branches } = useBranches(where.repo ?? search.repo)
  const mayBranch = useMay(branches.find((one) => one.name === search.branch)?.id)
  const mayRepo = useMay(repoId)
  const query = { agent, repo_name: search.repo ?? null, branch: search.branch ?? null, q: search.q ?? null }
  const find = (event: FormEvent) => {
    event.preventDefault()
    void go({ to: '/agents/$name', params: { name: agent }, search: { ...search, q: typed.trim() || undefined, repo: (where.repo ?? search.repo ?? '').trim() || undefined, branch: (where.branch ?? search.branch ?? '').trim() || undefined } })
  }
  return (
    <div className="flex flex-col gap-4">
      <form role="search" onSubmit={find} className="flex flex-wrap items-end gap-3">
        <TextField label="Repository" required value={where.repo ?? search.repo ?? ''} onChange={(repo) => setWhere({ ...where, repo })} />
        <TextField label="Branch" required value={where.branch ?? search.branch ?? ''} onChange={(branch) => setWhere({ ...where, branch })} list="branches" />
        <datalist id="branches">
          {branches.map((one) => (
            <option key={one.id} value={one.name} />
          ))}
        </datalist>
        <TextField label="What is asked for" value={typed} onChange={setTyped} />
        <Button type="submit" icon="search">Search</Button>
      </form>
      {!search.branch && <EmptyState title="What an agent remembers belongs to a branch: name it." command={`builderos memory items --agent ${agent} --branch <branch>`} />}
      {search.branch && <Listing
        label="Memory"
        queryKey={['memory', query]}
        read={(cursor, signal) => data(api.GET('/v1/memory/items', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(item) => item.id}
        onOpen={setShown}
        empty={`${harmless(agent)} remembers nothing here.`}
        command={`builderos memory remember --agent ${agent} "…"`}
        call={{ cli: `builderos memory items --agent ${agent} --branch ${search.branch}`, method: 'GET', path: `/v1/memory/items?${new URLSearchParams({ agent, repo_name: search.repo ?? '', branch: search.branch }).toString()}`, mcp: { name: 'listMemoryItems', arguments: query } }}
        columns={[
          { id: 'body', title: 'What', width: 'minmax(18rem, 3fr)', cell: (item) => <button type="button" className="max-w-full truncate text-accent underline" onClick={() => setShown(item)}>{shownLine(item.body.replace(/\s+/g, ' '), 300)}</button> },
          { id: 'tier', title: 'Kind', width: '8rem', cell: (item) => item.tier.replace('_', ' ') },
          { id: 'shared', title: 'For', width: '7rem', cell: (item) => (item.shared ? 'all' : 'this branch') },
          { id: 'until', title: 'Until', width: '9rem', cell: (item) => <Until item={item} /> },
          { id: 'at', title: 'Changed', width: '9rem', cell: (item) => <Time at={item.changed_at} /> },
        ]}
      />}
      {shown && <One item={shown} can={shown.shared ? mayRepo('memory.share') : mayBranch('memory.write')} onClose={() => setShown(null)} />}
    </div>
  )
}

const Until = ({ item }: { item: Item }) => (item.pinned ? 'pinned' : item.expires_at ? <Time at={item.expires_at} /> : 'for ever')
const SPANS = [['', 'for ever'], ['3600', 'for an hour'], ['86400', 'for a day'], ['604800', 'for a week'], ['2592000', 'for 30 days']] as const

function One({ item, can, onClose }: { item: Item; can: boolean; onClose: () => void }) {
  const cache = useQueryClient()
  const [gone, setGone] = useState(false)
  const [span, setSpan] = useState('')
  const params = { path: { id: item.id } }
  const act = useMutation({
    mutationFn: (what: 'pin' | 'ttl') => (what === 'pin' ? data(api.POST('/v1/memory/items/{id}/pin', { params, body: { pinned: !item.pinned } })) : data(api.POST('/v1/memory/items/{id}/ttl', { params, body: { ttl_s: span ? Number(span) : null } }))),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['memory'] })
      onClose()
    },
  })
  if (gone) {
    return (
      <Confirm open danger title="Have this forgotten?" act="Forget it" onClose={onClose} run={async () => { await data(api.DELETE('/v1/memory/items/{id}', { params })); await cache.invalidateQueries({ queryKey: ['memory'] }) }}>
        <p>{shownLine(item.body, 500)}</p>
      </Confirm>
    )
  }
  return (
    <Dialog
      open
      wide
      onClose={onClose}
      title="What is remembered"
      actions={can && (
        <>
          <Button look="danger" onClick={() => setGone(true)}>Forget it</Button>
          <Button busy={act.isPending} onClick={() => act.mutate('pin')}>{item.pinned ? 'Unpin it' : 'Pin it'}</Button>
        </>
      )}
    >
      <Code label="Text" text={item.body} className="max-h-60" />
      <Facts label="Where it comes from" of={[['Kind', item.tier.replace('_', ' ')], ['Tags', item.tags.join(', ')], ['By', item.created_by], ['Made', <Time key="made" at={item.created_at} />], ['Until', <Until key="until" item={item} />], ['Source', <code key="source" className="break-words">{json(item.source)}</code>]]} />
      {can && (
        <form className="flex flex-wrap items-end gap-2" onSubmit={(event) => { event.preventDefault(); act.mutate('ttl') }}>
          <Select label="From now on it is remembered" value={span} onChange={setSpan} options={SPANS} />
          <Button type="submit" busy={act.isPending}>Set it</Button>
        </form>
      )}
      <div>
        <CopyAs call={{ cli: `builderos memory show ${item.id}`, method: 'GET', path: `/v1/memory/items/${item.id}`, mcp: { name: 'getMemoryItem', arguments: { id: item.id } } }} />
      </div>
      {act.isError && <ProblemNote error={act.error} />}
    </Dialog>
  )
}
