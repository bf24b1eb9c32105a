import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { api, data } from '../api/client'
import { PlaceFields } from '../projects/PlaceFields'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Listing } from '../ui/Listing'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { agentsRoute } from './route'

export const Route = createLazyRoute('/agents')({ component: Agents })

function Agents() {
  const search = agentsRoute.useSearch()
  const go = useNavigate()
  const [typed, setTyped] = useState<{ repo?: string; branch?: string }>({})
  const query = { repo_name: search.repo ?? null, branch: search.branch ?? null }
  const find = (event: FormEvent) => {
    event.preventDefault()
    void go({ to: '/agents', search: { repo: (typed.repo ?? search.repo ?? '').trim() || undefined, branch: (typed.branch ?? search.branch ?? '').trim() || undefined } })
  }
  return (
    <Page title="Agents" below="Roles that come with BuilderOS, and those of a branch." actions={<CopyAs call={{ cli: 'builderos agent list', method: 'GET', path: '/v1/agents', mcp: { name: 'listAgents', arguments: query } }} />}>
      <form role="search" onSubmit={find} className="flex flex-wrap items-end gap-3">
        <PlaceFields repo={typed.repo ?? search.repo ?? ''} branch={typed.branch ?? search.branch ?? ''} onRepo={(repo) => setTyped({ ...typed, repo })} onBranch={(branch) => setTyped({ ...typed, branch })} />
        <Button type="submit" icon="search">Show</Button>
      </form>
      <Listing
        label="Agents"
        queryKey={['agents', query]}
        read={(_, signal) => data(api.GET('/v1/agents', { params: { query }, signal }))}
        keyOf={(agent) => agent.id}
        onOpen={(agent) => void go({ to: '/agents/$name', params: { name: agent.name }, search })}
        empty="There is no agent."
        command="builderos agent list"
        columns={[
          { id: 'name', title: 'Name', width: 'minmax(9rem, 1fr)', cell: (agent) => <Link to="/agents/$name" params={{ name: agent.name }} search={search} className="font-medium text-accent underline">{harmless(agent.name)}</Link> },
          { id: 'role', title: 'Role', width: 'minmax(9rem, 1fr)', cell: (agent) => harmless(agent.role) },
          { id: 'what', title: 'What for', width: 'minmax(16rem, 2fr)', cell: (agent) => harmless(agent.description) },
          { id: 'prompt', title: 'Prompt', width: 'minmax(9rem, 1fr)', cell: (agent) => harmless(agent.prompt_ref) },
          { id: 'model', title: 'Model', width: 'minmax(9rem, 1fr)', cell: (agent) => harmless(agent.model) },
          { id: 'source', title: 'From', width: '9rem', cell: (agent) => harmless(agent.source) },
        ]}
      />
    </Page>
  )
}
