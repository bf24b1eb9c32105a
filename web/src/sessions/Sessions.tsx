import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { PlaceFields } from '../projects/PlaceFields'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Listing } from '../ui/Listing'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { sessionsRoute } from './route'
import { Start } from './Start'

export const Route = createLazyRoute('/sessions')({ component: Sessions })

export type Session = Schemas['builderos__workloads__sessions__schema__Session']
const OPEN: ReadonlySet<string> = new Set(['starting', 'running', 'idle', 'stopping'])
export const isOpen = (one: Session): boolean => OPEN.has(one.status)

function Sessions() {
  const search = sessionsRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const [typed, setTyped] = useState<{ repo?: string; branch?: string }>({})
  const [starting, setStarting] = useState(false)
  const query = { repo_name: search.repo ?? null, branch: search.branch ?? null }
  return (
    <Page
      title="Sessions"
      below="Notebooks and shells on the files of a branch."
      actions={
        <>
          <CopyAs call={{ cli: 'builderos session list', method: 'GET', path: '/v1/sessions', mcp: { name: 'listWorkSessions', arguments: query } }} />
          {may('run.start') && <Button look="main" icon="plus" onClick={() => setStarting(true)}>Start a session</Button>}
        </>
      }
    >
      <form
        role="search"
        className="flex flex-wrap items-end gap-3"
        onSubmit={(event) => {
          event.preventDefault()
          void go({ to: '/sessions', search: { repo: (typed.repo ?? search.repo ?? '').trim() || undefined, branch: (typed.branch ?? search.branch ?? '').trim() || undefined } })
        }}
      >
        <PlaceFields repo={typed.repo ?? search.repo ?? ''} branch={typed.branch ?? search.branch ?? ''} onRepo={(repo) => setTyped({ ...typed, repo })} onBranch={(branch) => setTyped({ ...typed, branch })} />
        <Button type="submit" icon="search">Show</Button>
      </form>
      <Listing
        label="Sessions"
        queryKey={['sessions', query]}
        read={(cursor, signal) => data(api.GET('/v1/sessions', { params: { query: { ...query, limit: 100, cursor } }, signal }))}
        keyOf={(one) => one.id}
        onOpen={(one) => void go({ to: '/sessions/$id', params: { id: one.id } })}
        empty="No session was started yet."
        command="builderos session start"
        columns={[
          { id: 'id', title: 'Session', width: 'minmax(11rem, 1fr)', cell: (one) => <Link to="/sessions/$id" params={{ id: one.id }} className="font-medium text-accent underline">{one.kind} on {harmless(one.branch)}</Link> },
          { id: 'status', title: 'State', width: '8rem', cell: (one) => <Status of={one.status} /> },
          { id: 'repo', title: 'Repository', width: 'minmax(8rem, 1fr)', cell: (one) => <bdi>{harmless(one.repo_name)}</bdi> },
          { id: 'runtime', title: 'Runtime', width: '9rem', cell: (one) => `${harmless(one.runtime)}, ${harmless(one.profile)}` },
          { id: 'active', title: 'Last active', width: '9rem', cell: (one) => one.last_active_at && <Time at={one.last_active_at} /> },
          { id: 'made', title: 'Started', width: '9rem', cell: (one) => <Time at={one.started_at ?? one.created_at} /> },
          { id: 'why', title: 'Why it ended', width: 'minmax(9rem, 2fr)', cell: (one) => <bdi>{harmless(one.detail || (one.reason ?? ''))}</bdi> },
        ]}
      />
      {starting && <Start repo={search.repo ?? ''} branch={search.branch ?? ''} onClose={() => setStarting(false)} />}
    </Page>
  )
}
