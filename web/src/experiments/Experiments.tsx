import { useMutation, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { Select, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Import } from './Import'
import { experimentsRoute, STATES, type State } from './route'

export const Route = createLazyRoute('/experiments')({ component: Experiments })

export const STATE_WORDS: readonly (readonly [State, string])[] = [['active', 'Active'], ['deleted', 'Put away'], ['all', 'All']]

function Experiments() {
  const search = experimentsRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const [typed, setTyped] = useState<string | null>(null)
  const [making, setMaking] = useState<'new' | 'import' | null>(null)
  const query = { q: search.q ?? null, state: search.state ?? ('active' as const) }
  return (
    <Page
      title="Experiments"
      below="What was tried, and what came of it."
      actions={
        <>
          <CopyAs call={{ cli: 'builderos experiment list', method: 'GET', path: '/v1/experiments', mcp: { name: 'listExperiments', arguments: query } }} />
          {may('experiment.write') && <Button onClick={() => setMaking('import')}>Import</Button>}
          {may('experiment.write') && <Button look="main" icon="plus" onClick={() => setMaking('new')}>New experiment</Button>}
        </>
      }
    >
      <form
        role="search"
        className="flex flex-wrap items-end gap-3"
        onSubmit={(event) => {
          event.preventDefault()
          void go({ to: '/experiments', search: { ...search, q: (typed ?? search.q ?? '').trim() || undefined } })
        }}
      >
        <TextField label="Name" value={typed ?? search.q ?? ''} onChange={setTyped} />
        <Select label="Which" value={query.state} onChange={(state) => void go({ to: '/experiments', search: { ...search, state: STATES.find((one) => one === state && one !== 'active') } })} options={STATE_WORDS} />
        <Button type="submit" icon="search">Show</Button>
      </form>
      <Listing
        label="Experiments"
        queryKey={['experiments', query]}
        read={(cursor, signal) => data(api.GET('/v1/experiments', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(one) => one.id}
        onOpen={(one) => void go({ to: '/experiments/$id', params: { id: one.id } })}
        empty={search.q ? 'No experiment is called like this.' : 'Nothing was tried yet.'}
        command="builderos experiment create first-try"
        columns={[
          { id: 'name', title: 'Experiment', width: 'minmax(14rem, 2fr)', cell: (one) => <Link to="/experiments/$id" params={{ id: one.id }} className="font-medium text-accent underline"><bdi>{harmless(one.name)}</bdi></Link> },
          { id: 'state', title: 'State', width: '9rem', cell: (one) => <Status of={one.state} /> },
          { id: 'tags', title: 'Tags', width: 'minmax(10rem, 2fr)', cell: (one) => <bdi>{harmless(Object.entries(one.tags).slice(0, 5).map(([key, value]) => `${key}: ${value.slice(0, 60)}`).join(', '))}</bdi> },
          { id: 'changed', title: 'Changed', width: '9rem', cell: (one) => <Time at={one.updated_at} /> },
          { id: 'made', title: 'Made', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
        ]}
      />
      {making === 'new' && <Make onClose={() => setMaking(null)} />}
      {making === 'import' && <Import onClose={() => setMaking(null)} />}
    </Page>
  )
}

function Make({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState('')
  const cache = useQueryClient()
  const go = useNavigate()
  const make = useMutation({
    mutationFn: () => data(api.POST('/v1/experiments', { body: { name: name.trim() } })),
    onSuccess: async (made) => {
      await cache.invalidateQueries({ queryKey: ['experiments'] })
      await go({ to: '/experiments/$id', params: { id: made.id } })
    },
  })
  return (
    <Dialog open onClose={onClose} title="New experiment" actions={<Button look="main" type="submit" form="experiment" busy={make.isPending} disabled={name.trim() === ''}>Make it</Button>}>
      <form id="experiment" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); make.mutate() }}>
        <TextField label="Name" required value={name} onChange={setName} />
      </form>
      {make.isError && <ProblemNote error={make.error} />}
    </Dialog>
  )
}
