import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Checkbox, Select } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Create } from './Create'
import { endpointsRoute, ENV_WORDS, ENVS } from './route'

export const Route = createLazyRoute('/endpoints')({ component: Endpoints })

export type One = Schemas['Endpoint']

/** In one word, how it stands: what answers decides. */
export function standing(one: One): string {
  if (one.state === 'stopped') return 'stopped'
  const answering = one.deployments.filter((each) => each.share > 0)
  if (answering.some((each) => each.status === 'ready')) return 'ready'
  return one.deployments.some((each) => each.status === 'starting') ? 'starting' : 'failed'
}

function Endpoints() {
  const search = endpointsRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const [making, setMaking] = useState(false)
  const query = { env: search.env ?? null, stopped: search.stopped ?? false }
  return (
    <Page
      title="Endpoints"
      below="Models that answer at an address."
      actions={
        <>
          <CopyAs call={{ cli: 'builderos endpoint list', method: 'GET', path: '/v1/endpoints', mcp: { name: 'listEndpoints', arguments: query } }} />
          {may('endpoint.manage') && <Button look="main" icon="plus" onClick={() => setMaking(true)}>New endpoint</Button>}
        </>
      }
    >
      <form aria-label="Filters" className="flex flex-wrap items-end gap-4" onSubmit={(event) => event.preventDefault()}>
        <Select label="Environment" value={search.env ?? ''} onChange={(env) => void go({ to: '/endpoints', search: { ...search, env: ENVS.find((one) => one === env) } })} options={[['', 'All'], ...ENVS.map((env) => [env, ENV_WORDS[env]] as const)]} />
        <Checkbox label="Those that were stopped, too" checked={search.stopped ?? false} onChange={(stopped) => void go({ to: '/endpoints', search: { ...search, stopped: stopped ? true : undefined } })} />
      </form>
      <Listing
        label="Endpoints"
        queryKey={['endpoints', query]}
        read={(cursor, signal) => data(api.GET('/v1/endpoints', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(one) => one.id}
        onOpen={(one) => void go({ to: '/endpoints/$id', params: { id: one.id } })}
        empty="Nothing answers yet."
        command="builderos endpoint create iris iris@1"
        columns={[
          { id: 'name', title: 'Endpoint', width: 'minmax(10rem, 1fr)', cell: (one) => <Link to="/endpoints/$id" params={{ id: one.id }} className="font-medium text-accent underline"><bdi>{harmless(one.name)}</bdi></Link> },
          { id: 'state', title: 'State', width: '9rem', cell: (one) => <Status of={standing(one)} /> },
          { id: 'env', title: 'Environment', width: '9rem', cell: (one) => ENV_WORDS[one.env] },
          { id: 'what', title: 'What answers', width: 'minmax(12rem, 2fr)', cell: (one) => <bdi>{harmless(one.deployments.filter((each) => each.share > 0).map((each) => `${each.model}@${each.version} ${each.share} %`).join(', '))}</bdi> },
          { id: 'changed', title: 'Changed', width: '9rem', cell: (one) => <Time at={one.updated_at} /> },
        ]}
      />
      {making && <Create onClose={() => setMaking(false)} />}
    </Page>
  )
}
