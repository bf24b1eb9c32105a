import { useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Code, Facts, json } from '../ui/Facts'
import { ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Tabs } from '../ui/Tabs'
import { Waiting } from '../ui/Waiting'
import { Console } from './Console'
import { Memory } from './Memory'
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
      tab={`${name} · Agents`}
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

/** How far it may go: its own file narrows, the organisation's policy file and the shipped rules bind all agents. */
function Policy({ agent }: { agent: File }) {
  const policy = agent.policy as Record<string, unknown>
  return (
    <div className="grid gap-5 lg:grid-cols-2">
      <Section title="What its file says">
        <Facts label="Rules of the file" of={Object.entries(policy).map(([name, value]) => [name.replaceAll('_', ' '), <code key={name} className="break-words">{json(value)}</code>] as const)} />
        <h3>Limits</h3>
        <Facts label="Limits" of={Object.entries(agent.limits as Record<string, unknown>).map(([name, value]) => [name.replaceAll('_', ' '), json(value)] as const)} />
      </Section>
      <Section title="What the organisation's rules say of its tools">
        <Decided agent={agent} />
      </Section>
    </div>
  )
}

const VERDICTS = { allow: 'allowed', needs_approval: 'needs approval', deny: 'refused' } as const

function Decided({ agent }: { agent: File }) {
  const questions = agent.toolset.slice(0, 50).map((tool) => ({ action: 'tool.use', agent: agent.name, tool, role: 'sandbox' as const, branch_kind: 'sandbox' as const, own: true, paths: [], profile: 'standard' as const, scopes: [], host: '', secret: '' }))
  const found = useQuery({
    queryKey: ['policies', 'agent', agent.name, agent.toolset],
    queryFn: ({ signal }) => data(api.POST('/v1/policies/simulate', { body: { questions } as unknown as Schemas['SimulateIn'], signal })),
    enabled: questions.length > 0,
    retry: false,
  })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} />
  return (
    <table aria-label="Tools" className="w-full text-sm">
      <thead>
        <tr className="text-left text-muted">
          <th scope="col">Tool</th>
          <th scope="col">Verdict</th>
          <th scope="col">By</th>
        </tr>
      </thead>
      <tbody>
        {found.data.answers.map((answer, n) => (
          <tr key={questions[n]?.tool} className="border-t border-line">
            <th scope="row" className="py-1 text-left font-normal"><code>{questions[n]?.tool}</code></th>
            <td>{VERDICTS[answer.verdict]}</td>
            <td>{answer.rules.map(harmless).join(', ')}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
