import { useQuery } from '@tanstack/react-query'
import { api, data, type Schemas } from '../api/client'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { Facts, json } from '../ui/Facts'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Waiting } from '../ui/Waiting'

type File = Schemas['AgentFile']
type Answer = Schemas['Answer']
/** An agent acts with the rights of whoever started the run. */
const ROLES = [['sandbox', 'a workspace'], ['builder', 'a builder'], ['admin', 'an admin'], ['org_owner', 'an owner']] as const
const VERDICTS = { allow: 'allowed', needs_approval: 'needs approval', deny: 'denied' } as const
const TOOLS = 60

/** How far it may go: its own file narrows, the organisation's policy file and the shipped rules bind all agents. */
export function Policy({ agent }: { agent: File }) {
  const policy = agent.policy as Record<string, unknown>
  return (
    <div className="flex flex-col gap-5">
      <Section title="Its tools, by whose run it is">
        <Decided agent={agent} />
      </Section>
      <div className="grid gap-5 lg:grid-cols-2">
        <Section title="What its file says">
          <Facts label="Rules of the file" of={Object.entries(policy).map(([name, value]) => [name.replaceAll('_', ' '), <code key={name} className="break-words">{json(value)}</code>] as const)} />
        </Section>
        <Section title="Limits">
          <Facts label="Limits" of={Object.entries(agent.limits as Record<string, unknown>).map(([name, value]) => [name.replaceAll('_', ' '), json(value)] as const)} />
        </Section>
      </div>
    </div>
  )
}

const listed = (value: unknown): readonly string[] => (Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [])
/** Whether one of the patterns means this tool; `*` stands for any characters, as in the agent's file. */
const meant = (patterns: readonly string[], tool: string): boolean => patterns.some((one) => new RegExp(`^${one.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, String.raw`\$&`)).join('.*')}$`).test(tool))

/** What the rules and the file decide together: the file can only narrow. */
function narrowed(policy: Record<string, unknown>, tool: string, answer: Answer): { verdict: Answer['verdict']; by: readonly string[] } {
  if (answer.verdict === 'deny') return { verdict: 'deny', by: answer.rules }
  if (meant(listed(policy.deny_tools), tool)) return { verdict: 'deny', by: ['its file: deny_tools'] }
  if (answer.verdict === 'needs_approval') return { verdict: 'needs_approval', by: answer.rules }
  if (meant(listed(policy.ask_tools), tool)) return { verdict: 'needs_approval', by: ['its file: ask_tools'] }
  return { verdict: 'allow', by: answer.rules }
}

function Decided({ agent }: { agent: File }) {
  const tools = agent.toolset.slice(0, TOOLS)
  const questions = tools.flatMap((tool) => ROLES.map(([role]) => ({ action: 'tool.use', agent: agent.name, tool, role, branch_kind: 'sandbox' as const, own: true, paths: [], profile: 'standard' as const, scopes: [], host: '', secret: '' })))
  const found = useQuery({
    queryKey: ['policies', 'agent', agent.name, tools],
    queryFn: ({ signal }) => data(api.POST('/v1/policies/simulate', { body: { questions } as unknown as Schemas['SimulateIn'], signal })),
    enabled: questions.length > 0,
    retry: false,
  })
  if (tools.length === 0) return <EmptyState title="It has no tools: it only answers." command={`builderos agent show ${agent.name}`} />
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} />
  return (
    <div className="flex flex-col gap-2">
      <div role="region" aria-label="Tools by role" tabIndex={0} className="overflow-auto rounded-lg border border-line bg-panel p-2">
        <table aria-label="Tools" className="w-full min-w-[44rem] text-sm">
          <thead>
            <tr className="text-left text-muted">
              <th scope="col" className="pr-4">Tool</th>
              {ROLES.map(([role, word]) => (
                <th key={role} scope="col" className="pr-4">In a run of {word}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {tools.map((tool, row) => (
              <tr key={tool} className="border-t border-line align-top">
                <th scope="row" className="py-1 pr-4 text-left font-normal"><code>{harmless(tool)}</code></th>
                {ROLES.map(([role], column) => {
                  const answer = found.data.answers[row * ROLES.length + column]
                  if (!answer) return <td key={role} />
                  const { verdict, by } = narrowed(agent.policy as Record<string, unknown>, tool, answer)
                  return (
                    <td key={role} className="py-1 pr-4">
                      <Status of={VERDICTS[verdict]} />
                      <span className="block text-muted">{by.map(harmless).join(', ')}</span>
                    </td>
                  )
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div className="flex justify-end">
        <CopyAs call={{ cli: `builderos policy explain tool.use --agent ${agent.name} --tool ${tools[0] ?? ''}`, method: 'POST', path: '/v1/policies/simulate', body: { questions }, mcp: { name: 'simulatePolicy', arguments: { questions } } }} />
      </div>
    </div>
  )
}
