import { useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Code, Facts } from '../ui/Facts'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Tabs } from '../ui/Tabs'
import { Waiting } from '../ui/Waiting'
import { Console } from './Console'
import { Memory } from './Memory'
import { Policy } from './Policy'
import { AGENT_TABS, agentRoute } from './route'
import { Task } from './Task'

export const Route = createLazyRoute('/agents/$name')({ component: Agent })

type File = Schemas['AgentFile']
const WORDS = { role: 'Role', policy: 'Effective policy', memory: 'Memory', console: 'Console' } as const

function Agent() {
  const { name } = agentRoute.useParams()
  const search = agentRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const [starting, setStarting] = useState(false)
  const query = { repo_name: search.repo ?? null, branch: search.branch ?? null }
  const found = useQuery({
    queryKey: ['agents', name, query],
    queryFn: ({ signal }) => data(api.GET('/v1/agents/{name}', { params: { path: { name }, query }, signal })),
  })
  const tab = search.tab ?? 'role'
  return (
    <Page
      title={harmless(name)}
      tab={`${WORDS[tab]} · ${name} · Agents`}
      below={<Link to="/agents" search={{ repo: search.repo, branch: search.branch }} className="text-accent underline">All agents</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos agent show ${name}`, method: 'GET', path: `/v1/agents/${encodeURIComponent(name)}`, mcp: { name: 'showAgent', arguments: { name } } }} />
          {may('run.start') && <Button look="main" onClick={() => setStarting(true)}>Give it a task</Button>}
        </>
      }
    >
      {found.isPending ? <Waiting /> : found.isError ? <ProblemNote error={found.error} again={() => void found.refetch()} /> : (
        <Tabs label="Agent" tabs={AGENT_TABS.map((id) => ({ id, label: WORDS[id] }))} value={tab} onChange={(id) => void go({ to: '/agents/$name', params: { name }, search: { ...search, tab: AGENT_TABS.find((each) => each === id) } })}>
          {tab === 'role' && <Role agent={found.data} />}
          {tab === 'policy' && <Policy agent={found.data} />}
          {tab === 'memory' && <Memory agent={name} />}
          {tab === 'console' && <Console agent={name} />}
        </Tabs>
      )}
      {starting && <Task name={name} repo={search.repo ?? ''} branch={search.branch ?? ''} onClose={() => setStarting(false)} />}
    </Page>
  )
}

function Role({ agent }: { agent: File }) {
  const prompt = agent.prompt_ref.split('@')[0] ?? ''
  return (
    <div className="flex flex-col gap-4">
      <Facts
        label="The role"
        of={[
          ['Role', agent.role], ['What for', agent.description], ['Version', agent.version], ['From', agent.source], ['Model', agent.model],
          ['Prompt', prompt && <Link key="prompt" to="/prompts/$name" params={{ name: prompt }} className="text-accent underline">{harmless(agent.prompt_ref)}</Link>],
          ['Tools', agent.toolset.join(', ')],
        ]}
      />
      <Code label="The agent's file" text={agent.content} />
    </div>
  )
}
