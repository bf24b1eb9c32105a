import { useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { PlaceFields } from '../projects/PlaceFields'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Listing } from '../ui/Listing'
import { Page, Panel, Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Deploy } from './Deploy'
import { deploymentsRoute } from './route'

export const Route = createLazyRoute('/deployments')({ component: Deployments })

export const ENVS = ['preview', 'dev', 'stage', 'prod'] as const
export const ENV_WORDS = { preview: 'Preview', dev: 'Development', stage: 'Stage', prod: 'Production' } as const
type Deployment = Schemas['Deployment']

/** Only addresses that a browser opens as a page: a deployment names its own. */
export const safe = (url: string | null): string | undefined => (url && /^https?:\/\//.test(url) ? url : undefined)

function Deployments() {
  const search = deploymentsRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const [typed, setTyped] = useState<{ repo?: string; branch?: string }>({})
  const [starting, setStarting] = useState(false)
  const env = ENVS.find((each) => each === search.env) ?? null
  const query = { repo_name: search.repo ?? null, branch: search.branch ?? null, env }
  const find = (event: FormEvent) => {
    event.preventDefault()
    void go({ to: '/deployments', search: { ...search, repo: (typed.repo ?? search.repo ?? '').trim() || undefined, branch: (typed.branch ?? search.branch ?? '').trim() || undefined } })
  }
  return (
    <Page
      title="Deployments"
      below="What is live where, and how it is."
      actions={
        <>
          <CopyAs call={{ cli: 'builderos deploy list', method: 'GET', path: '/v1/deployments', mcp: { name: 'listDeployments', arguments: query } }} />
          {may('run.start') && <Button look="main" onClick={() => setStarting(true)}>Deploy</Button>}
        </>
      }
    >
      <form role="search" onSubmit={find} className="flex flex-wrap items-end gap-3">
        <PlaceFields repo={typed.repo ?? search.repo ?? ''} branch={typed.branch ?? search.branch ?? ''} onRepo={(repo) => setTyped({ ...typed, repo })} onBranch={(branch) => setTyped({ ...typed, branch })} />
        <Button type="submit" icon="search">Show</Button>
      </form>
      <Section title="Live now">
        <Ladder query={query} />
      </Section>
      <Section title="All">
        <Listing
          label="Deployments"
          queryKey={['deployments', query]}
          read={(cursor, signal) => data(api.GET('/v1/deployments', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
          keyOf={(one) => one.id}
          onOpen={(one) => void go({ to: '/deployments/$id', params: { id: one.id } })}
          empty="Nothing was deployed."
          command="builderos deploy start preview"
          columns={[
            { id: 'number', title: 'Deployment', width: '8rem', cell: (one) => <Link to="/deployments/$id" params={{ id: one.id }} className="text-accent underline">{one.env} {one.number}</Link> },
            { id: 'status', title: 'State', width: '9rem', cell: (one) => <Status of={one.status} /> },
            { id: 'repo', title: 'Repository', width: 'minmax(9rem, 1fr)', cell: (one) => harmless(one.repo_name) },
            { id: 'branch', title: 'Branch', width: 'minmax(9rem, 1fr)', cell: (one) => harmless(one.branch) },
            { id: 'commit', title: 'Commit', width: '8rem', cell: (one) => <code>{one.commit_sha?.slice(0, 10)}</code> },
            { id: 'detail', title: 'What happened', width: 'minmax(12rem, 2fr)', cell: (one) => harmless(one.detail || (one.reason ?? '')) },
            { id: 'at', title: 'When', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
          ]}
        />
      </Section>
      {starting && <Deploy repo={search.repo ?? ''} branch={search.branch ?? ''} onClose={() => setStarting(false)} />}
    </Page>
  )
}

/** The environments beside each other, each with what is live there. */
function Ladder({ query }: { query: { repo_name: string | null; branch: string | null } }) {
  const live = { repo_name: query.repo_name, branch: query.branch, status: 'live' as const, limit: 100 }
  const found = useQuery({ queryKey: ['deployments', 'live', live], queryFn: ({ signal }) => data(api.GET('/v1/deployments', { params: { query: live }, signal })) })
  return (
    <div className="grid gap-3 md:grid-cols-2 xl:grid-cols-4">
      {ENVS.map((env) => (
        <Panel key={env} className="flex flex-col gap-2 p-3">
          <h3>{ENV_WORDS[env]}</h3>
          <ul aria-label={`Live in ${ENV_WORDS[env]}`} className="flex flex-col gap-2">
            {(found.data?.items ?? []).filter((one) => one.env === env).slice(0, 10).map((one) => (
              <Rung key={one.id} deployment={one} />
            ))}
          </ul>
          {found.data && !found.data.items.some((one) => one.env === env) && <p className="text-sm text-muted">Nothing is live.</p>}
        </Panel>
      ))}
    </div>
  )
}

function Rung({ deployment }: { deployment: Deployment }) {
  const well = (deployment.health as { well?: unknown } | null)?.well
  return (
    <li className="flex flex-col text-sm">
      <Link to="/deployments/$id" params={{ id: deployment.id }} className="font-medium text-accent underline">{harmless(deployment.repo_name)} · {harmless(deployment.branch)}</Link>
      <span className="flex flex-wrap items-center gap-x-3">
        <Status of={well === false ? 'unhealthy' : 'live'} />
        {safe(deployment.url) && <a href={safe(deployment.url)} rel="noreferrer" className="text-accent underline">Open</a>}
        {deployment.live_at && <Time at={deployment.live_at} className="text-muted" />}
      </span>
    </li>
  )
}
