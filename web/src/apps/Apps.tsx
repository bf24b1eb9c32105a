import { useMutation, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { Checkbox, Select, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { namesOf } from '../ui/names'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { appsRoute } from './route'

export const Route = createLazyRoute('/apps')({ component: Apps })

export type One = Schemas['App']
type Kind = One['type']
export const KIND_WORDS: Record<Kind, string> = { streamlit: 'Streamlit', flask: 'Flask, WSGI or ASGI', nextjs: 'Next.js', static: 'Files', custom: 'A command' }
const KINDS: readonly Kind[] = ['streamlit', 'flask', 'nextjs', 'static', 'custom']
/** A release is on its way. */
export const isChanging = (one: One): boolean => one.latest?.status === 'building' || one.latest?.status === 'starting'

function Apps() {
  const search = appsRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const [making, setMaking] = useState(false)
  const query = { stopped: search.stopped ?? false }
  return (
    <Page
      title="Apps"
      below="What is served out of a commit, to whom the policy lets."
      actions={
        <>
          <CopyAs call={{ cli: 'builderos app list', method: 'GET', path: '/v1/apps', mcp: { name: 'listApps', arguments: query } }} />
          {may('app.manage') && <Button look="main" icon="plus" onClick={() => setMaking(true)}>New app</Button>}
        </>
      }
    >
      <Checkbox label="Those that were stopped, too" checked={search.stopped ?? false} onChange={(stopped) => void go({ to: '/apps', search: { stopped: stopped ? true : undefined } })} />
      <Listing
        label="Apps"
        queryKey={['apps', query]}
        read={(cursor, signal) => data(api.GET('/v1/apps', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(one) => one.id}
        onOpen={(one) => void go({ to: '/apps/$id', params: { id: one.id } })}
        empty="No app was made yet."
        command="builderos app create sales streamlit --path app.py"
        columns={[
          { id: 'name', title: 'App', width: 'minmax(10rem, 1fr)', cell: (one) => <Link to="/apps/$id" params={{ id: one.id }} className="font-medium text-accent underline"><bdi>{harmless(one.name)}</bdi></Link> },
          { id: 'standing', title: 'State', width: '8rem', cell: (one) => <Status of={one.standing} /> },
          { id: 'release', title: 'Newest release', width: '11rem', cell: (one) => one.latest && <span className="flex gap-2">{one.latest.number} <Status of={one.latest.status} /></span> },
          { id: 'kind', title: 'Kind', width: '10rem', cell: (one) => KIND_WORDS[one.type] },
          { id: 'source', title: 'From', width: 'minmax(12rem, 2fr)', cell: (one) => <bdi>{harmless(`${one.source.repo_name} / ${one.source.branch ?? 'main'} / ${one.source.path ?? ''}`)}</bdi> },
          { id: 'who', title: 'For whom', width: '8rem', cell: (one) => (one.policy.open === 'public' ? 'Everybody' : 'The organisation') },
          { id: 'changed', title: 'Changed', width: '9rem', cell: (one) => <Time at={one.updated_at} /> },
        ]}
      />
      {making && <Make onClose={() => setMaking(false)} />}
    </Page>
  )
}

function Make({ onClose }: { onClose: () => void }) {
  const [kind, setKind] = useState<Kind>('streamlit')
  const [open, setOpen] = useState<'org' | 'public'>('org')
  const [typed, setTyped] = useState({ name: '', repo: '', branch: 'main', path: 'app.py', runtime: '', command: '', build: '', secrets: '', endpoints: '', models: '', idle: '1800' })
  const cache = useQueryClient()
  const go = useNavigate()
  const field = (name: keyof typeof typed) => ({ value: typed[name], onChange: (value: string) => setTyped({ ...typed, [name]: value }) })
  const make = useMutation({
    mutationFn: () =>
      data(api.POST('/v1/apps', {
        body: {
          name: typed.name, type: kind, source: { repo_name: typed.repo.trim(), branch: typed.branch.trim() || 'main', path: typed.path.trim(), object: 'app' },
          runtime: typed.runtime.trim() || null, command: typed.command.trim() || null, build: typed.build.trim() || null,
          secrets: namesOf(typed.secrets), endpoints: namesOf(typed.endpoints), models: namesOf(typed.models), policy: { open, roles: [], actors: [] }, idle_timeout: Number(typed.idle),
        },
      })),
    onSuccess: async (made) => {
      await cache.invalidateQueries({ queryKey: ['apps'] })
      await go({ to: '/apps/$id', params: { id: made.id } })
    },
  })
  return (
    <Dialog open onClose={onClose} title="New app" actions={<Button look="main" type="submit" form="app" busy={make.isPending}>Make it</Button>}>
      <form id="app" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); make.mutate() }}>
        <TextField label="Name" required pattern="[a-z0-9][a-z0-9\-]{0,62}" hint="Small letters, digits and -." {...field('name')} />
        <Select label="Kind" value={kind} onChange={(value) => setKind(KINDS.find((one) => one === value) ?? 'streamlit')} options={KINDS.map((one) => [one, KIND_WORDS[one]] as const)} />
        <TextField label="Repository" required {...field('repo')} />
        <TextField label="Branch" {...field('branch')} />
        <TextField label="File or folder" hint="The file for Streamlit and Flask, the folder otherwise." {...field('path')} />
        {kind === 'custom' && <TextField label="Command" required hint="It listens on $PORT." {...field('command')} />}
        <TextField label="Command that is run first" {...field('build')} />
        <TextField label="Runtime" hint="One with its libraries; the first approved one without." {...field('runtime')} />
        <TextField label="Secrets that it gets, separated by commas" {...field('secrets')} />
        <TextField label="Endpoints that it may call, separated by commas" hint="It finds the way there in its variables." {...field('endpoints')} />
        <TextField label="Models that it may ask, separated by commas" {...field('models')} />
        <Select label="For whom" value={open} onChange={(value) => setOpen(value === 'public' ? 'public' : 'org')} options={[['org', 'Members whom the policy lets'], ['public', 'Whoever reaches the door']]} />
        <TextField label="Seconds without a request after which it sleeps; 0: never" type="number" min={0} max={604_800} {...field('idle')} />
      </form>
      {make.isError && <ProblemNote error={make.error} />}
    </Dialog>
  )
}
