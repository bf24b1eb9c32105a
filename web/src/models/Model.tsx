import { useQuery, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { TextArea, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { modelRoute } from './route'
import { Version } from './Version'

export const Route = createLazyRoute('/models/$name')({ component: Model })

function Model() {
  const { name } = modelRoute.useParams()
  const found = useQuery({ queryKey: ['models', name], queryFn: ({ signal }) => data(api.GET('/v1/models/{name}', { params: { path: { name } }, signal })) })
  if (found.isPending) return <Page title="Model"><Waiting /></Page>
  if (found.isError) return <Page title="Model"><ProblemNote error={found.error} again={() => void found.refetch()} /></Page>
  return <Shown one={found.data} />
}

function Shown({ one }: { one: Schemas['Model'] }) {
  const search = modelRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const version = search.version ?? one.latest
  const tags = Object.entries(one.tags)
  return (
    <Page
      title={harmless(one.name)}
      below={<Link to="/models" className="text-accent underline">All models</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos model show ${quoted(one.name)}`, method: 'GET', path: `/v1/models/${encodeURIComponent(one.name)}`, mcp: { name: 'showRegisteredModel', arguments: { name: one.name } } }} />
          {may('registry.write') && <Change one={one} />}
        </>
      }
    >
      {one.description && <p className="whitespace-pre-wrap">{one.description.split('\n').map(harmless).join('\n')}</p>}
      {tags.length > 0 && (
        <ul aria-label="Tags" className="flex flex-wrap gap-2 text-sm">
          {tags.slice(0, 60).map(([key, value]) => <li key={key} className="rounded bg-raised px-2 py-0.5"><bdi>{harmless(`${key}: ${value.slice(0, 120)}`)}</bdi></li>)}
        </ul>
      )}
      <Section title="Versions">
        <Listing
          label="All versions"
          queryKey={['models', one.name, 'versions']}
          read={(cursor, signal) => data(api.GET('/v1/model-versions', { params: { query: { name: one.name, limit: 100, cursor } }, signal }))}
          keyOf={(row) => row.id}
          onOpen={(row) => void go({ to: '/models/$name', params: { name: one.name }, search: { version: row.version } })}
          empty="It has no version yet."
          command={`builderos model register ${quoted(one.name)}`}
          className="max-h-[40vh]"
          columns={[
            { id: 'version', title: 'Version', width: '6rem', cell: (row) => <Link to="/models/$name" params={{ name: one.name }} search={{ version: row.version }} aria-current={row.version === version ? 'true' : undefined} className={`text-accent underline ${row.version === version ? 'font-bold' : ''}`}>{row.version}</Link> },
            { id: 'stage', title: 'Stage', width: '10rem', cell: (row) => <Status of={row.stage} /> },
            { id: 'aliases', title: 'Aliases', width: 'minmax(8rem, 1fr)', cell: (row) => harmless(row.aliases.join(', ')) },
            { id: 'run', title: 'From', width: 'minmax(10rem, 1fr)', cell: (row) => (row.run_id ? <Link to="/experiment-runs/$id" params={{ id: row.run_id }} className="text-accent underline">{row.run_id}</Link> : harmless(row.source)) },
            { id: 'about', title: 'About', width: 'minmax(10rem, 2fr)', cell: (row) => <bdi>{harmless(row.description.slice(0, 200))}</bdi> },
            { id: 'made', title: 'Made', width: '9rem', cell: (row) => <Time at={row.created_at} /> },
          ]}
        />
      </Section>
      {version !== null && <OneVersion key={version} model={one} version={version} />}
    </Page>
  )
}

function OneVersion({ model, version }: { model: Schemas['Model']; version: number }) {
  const found = useQuery({
    queryKey: ['models', model.name, 'version', version],
    queryFn: ({ signal }) => data(api.GET('/v1/models/{name}/versions/{version}', { params: { path: { name: model.name, version: String(version) } }, signal })),
  })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  return <Version one={found.data} production={model.production} />
}

/** A name as a word of a shell. */
export const quoted = (text: string): string => (/^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`)

function Change({ one }: { one: Schemas['Model'] }) {
  const cache = useQueryClient()
  const go = useNavigate()
  const [ask, setAsk] = useState<'change' | 'delete' | null>(null)
  const [name, setName] = useState(one.name)
  const [description, setDescription] = useState(one.description)
  const change = async () => {
    const path = { name: one.name }
    const changed = await data(api.PATCH('/v1/models/{name}', { params: { path }, body: { ...(name === one.name ? {} : { new_name: name.trim() }), description } }))
    await go({ to: '/models/$name', params: { name: changed.name } })
    await cache.invalidateQueries({ queryKey: ['models'] })
  }
  const remove = async () => {
    await data(api.DELETE('/v1/models/{name}', { params: { path: { name: one.name } } }))
    toast('It is out of the registry.')
    await go({ to: '/models' })
    await cache.invalidateQueries({ queryKey: ['models'] })
  }
  return (
    <>
      <Button onClick={() => setAsk('change')}>Change</Button>
      <Button look="danger" onClick={() => setAsk('delete')}>Take it out</Button>
      {ask === 'change' && (
        <Confirm open onClose={() => setAsk(null)} title="Change the model" act="Keep it" run={change}>
          <TextField label="Name" value={name} onChange={setName} />
          <TextArea label="What it is" value={description} onChange={setDescription} />
        </Confirm>
      )}
      <Confirm open={ask === 'delete'} danger onClose={() => setAsk(null)} title="Take this model out of the registry?" act="Take it out" typed={one.name} run={remove}>
        <p>Its versions go with it. Rows and files stay, and what is served goes on.</p>
      </Confirm>
    </>
  )
}

