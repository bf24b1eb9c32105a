import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Select, TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table } from '../ui/Table'
import { Waiting } from '../ui/Waiting'
import { policiesRoute, type PoliciesSearch } from './route'
import { Verdict } from './Verdict'

export const ROLES = ['viewer', 'reviewer', 'builder', 'admin', 'org_owner', 'sandbox', 'api_key', 'share', 'anonymous', 'owner', 'system'] as const
export const KINDS = ['sandbox', 'dev', 'main', 'base', 'archive', 'backup'] as const
type Question = Schemas['QuestionIn']

const VERDICTS = { allow: 'allowed', needs_approval: 'needs approval', deny: 'denied' } as const

/** What the address asks, as the server wants it; null without an act. */
function asked(search: PoliciesSearch): (Partial<Question> & { action: string }) | null {
  if (!search.action) return null
  return {
    action: search.action,
    role: ROLES.find((each) => each === search.role) ?? 'builder',
    branch_kind: KINDS.find((each) => each === search.kind) ?? 'sandbox',
    agent: search.agent ?? '',
    tool: search.tool ?? '',
    paths: (search.paths ?? '').split(',').map((path) => path.trim()).filter(Boolean),
    ...(search.project ? { project: search.project } : {}),
    ...(search.branch ? { branch: search.branch } : {}),
    ...(search.environment ? { environment: search.environment } : {}),
  }
}

/** The effective policy: what I may do, and what would be decided about any act, by which rule. */
export function Explorer() {
  const search = policiesRoute.useSearch()
  const go = useNavigate()
  const [typed, setTyped] = useState<PoliciesSearch>({})
  const value = (name: keyof Omit<PoliciesSearch, 'tab'>): string => typed[name] ?? search[name] ?? ''
  const question = asked(search)
  const send = (event: FormEvent) => {
    event.preventDefault()
    const next: PoliciesSearch = { ...search, ...typed }
    for (const name of Object.keys(next) as (keyof PoliciesSearch)[]) if (next[name] === '') delete next[name]
    void go({ to: '/policies', search: next })
  }
  const text = (name: keyof Omit<PoliciesSearch, 'tab'>, label: string, rest: { hint?: string; required?: boolean; list?: string } = {}) => (
    <TextField label={label} value={value(name)} onChange={(text_) => setTyped({ ...typed, [name]: text_ })} {...rest} />
  )
  return (
    <div className="flex flex-col gap-5">
      <Section title="Ask about one act" actions={question && <CopyAs call={{ cli: `builderos policy explain ${question.action}`, method: 'POST', path: '/v1/policies/explain', body: question, mcp: { name: 'explainPolicy', arguments: question } }} />}>
        <form onSubmit={send} className="grid gap-3 sm:grid-cols-2 lg:grid-cols-4">
          {text('action', 'Act', { required: true, hint: 'e.g. git.push, deploy.prod', list: 'acts' })}
          <Select label="As" value={value('role') || 'builder'} onChange={(role) => setTyped({ ...typed, role })} options={ROLES.map((each) => [each, each.replace('_', ' ')] as const)} />
          <Select label="Kind of branch" value={value('kind') || 'sandbox'} onChange={(kind) => setTyped({ ...typed, kind })} options={KINDS.map((each) => [each, each] as const)} />
          {text('branch', 'Branch')}
          {text('project', 'Repository')}
          {text('environment', 'Environment')}
          {text('agent', 'Agent')}
          {text('tool', 'Tool')}
          {text('paths', 'Files', { hint: 'separated by commas' })}
          <div className="flex items-end">
            <Button type="submit" look="main">Ask</Button>
          </div>
        </form>
        {question && <Explained question={question} />}
      </Section>
      <Mine />
    </div>
  )
}

function Explained({ question }: { question: Partial<Question> & { action: string } }) {
  const answer = useQuery({
    queryKey: ['policies', 'explain', question],
    queryFn: ({ signal }) => data(api.POST('/v1/policies/explain', { body: question as Schemas['ExplainIn'], signal })),
  })
  if (answer.isPending) return <Waiting />
  if (answer.isError) return <ProblemNote error={answer.error} again={() => void answer.refetch()} />
  return <Verdict answer={answer.data} />
}

/** What the caller may do to the organisation. */
function Mine() {
  const found = useQuery({ queryKey: ['permissions', ''], queryFn: ({ signal }) => data(api.GET('/v1/me/permissions', { params: { query: {} }, signal })) })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  return (
    <Section title="What you may do in the organisation" actions={<CopyAs call={{ cli: 'builderos api getPermissions', method: 'GET', path: '/v1/me/permissions', mcp: { name: 'getPermissions', arguments: {} } }} />}>
      <datalist id="acts">
        {found.data.items.map((one) => (
          <option key={one.action} value={one.action} />
        ))}
      </datalist>
      <Table
        label="What you may do"
        rows={found.data.items}
        keyOf={(one) => one.action}
        className="max-h-[50vh]"
        columns={[
          { id: 'action', title: 'Act', width: 'minmax(12rem, 1fr)', cell: (one) => <code>{one.action}</code> },
          { id: 'verdict', title: 'Verdict', width: '11rem', cell: (one) => <Status of={VERDICTS[one.verdict]} /> },
          { id: 'rules', title: 'By', width: 'minmax(12rem, 1fr)', cell: (one) => one.rules.map(harmless).join(', ') },
          { id: 'hint', title: 'What to do', width: 'minmax(16rem, 2fr)', cell: (one) => harmless(one.hint) },
        ]}
      />
    </Section>
  )
}
