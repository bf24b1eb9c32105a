import { useQuery, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Who } from '../shell/Who'
import { Button, buttonClass } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { Code, Facts, json } from '../ui/Facts'
import { TextArea } from '../ui/Field'
import { Icon } from '../ui/Icon'
import { Note, ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { Deploy } from './Deploy'
import { ENV_WORDS, ENVS, safe } from './Deployments'
import { deploymentRoute } from './route'

export const Route = createLazyRoute('/deployments/$id')({ component: Deployment })

const LOG_BYTES = 60_000

function Deployment() {
  const { id } = deploymentRoute.useParams()
  const found = useQuery({ queryKey: ['deployments', id], queryFn: ({ signal }) => data(api.GET('/v1/deployments/{id}', { params: { path: { id } }, signal })) })
  if (found.isPending) return <Page title="Deployment"><Waiting /></Page>
  if (found.isError) return <Page title="Deployment"><ProblemNote error={found.error} again={() => void found.refetch()} /></Page>
  return <Shown one={found.data} />
}

function Shown({ one }: { one: Schemas['Deployment'] }) {
  const may = useMay(one.id)
  const cache = useQueryClient()
  const [asked, setAsked] = useState<'rollback' | 'stop' | null>(null)
  const [reason, setReason] = useState('')
  const [promoting, setPromoting] = useState(false)
  const next = ENVS[ENVS.indexOf(one.env) + 1]
  const mayStart = useMay()('run.start')
  const can = one.status === 'live' && may(one.env === 'prod' ? 'deploy.rollback_prod' : 'deploy.rollback')
  const run = async () => {
    const call = { params: { path: { id: one.id } }, body: { reason } }
    await (asked === 'stop' ? data(api.POST('/v1/deployments/{id}/stop', call)) : data(api.POST('/v1/deployments/{id}/rollback', call)))
    await cache.invalidateQueries({ queryKey: ['deployments'] })
  }
  return (
    <Page
      title={`${harmless(one.repo_name)}: ${one.env} ${one.number}`}
      below={<Link to="/deployments" className="text-accent underline">All deployments</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos deploy show ${one.id}`, method: 'GET', path: `/v1/deployments/${one.id}`, mcp: { name: 'showDeployment', arguments: { id: one.id } } }} />
          {safe(one.url) && <a href={safe(one.url)} rel="noreferrer" className={buttonClass()}><Icon name="external" /> Open</a>}
          {next && one.status === 'live' && mayStart && may(`deploy.${next}`) && <Button look="main" onClick={() => setPromoting(true)}>Promote to {ENV_WORDS[next].toLowerCase()}</Button>}
          {can && one.replaces && <Button icon="undo" onClick={() => setAsked('rollback')}>Roll back</Button>}
          {can && <Button look="danger" onClick={() => setAsked('stop')}>Take it away</Button>}
        </>
      }
    >
      <div className="grid gap-5 lg:grid-cols-2">
        <Section title="How it stands">
          <Facts
            label="The deployment"
            of={[
              ['State', <Status key="state" of={one.status} />], ['What happened', one.detail || one.reason?.replaceAll('_', ' ')], ['Branch', one.branch],
              ['Commit', one.commit_sha && <code key="commit" className="break-all">{one.commit_sha}</code>], ['Made of', <code key="tree" className="break-all">{one.built_tree ?? one.tree}</code>],
              ['Served by', one.provider], ['Asked for', <Time key="made" at={one.created_at} />], ['Live since', one.live_at && <Time key="live" at={one.live_at} />], ['Ended', one.ended_at && <Time key="ended" at={one.ended_at} />],
              ['By', <Who key="by" id={one.created_by} />],
              ['Run', one.run_id && <Link key="run" to="/runs/$id" params={{ id: one.run_id }} className="text-accent underline">{one.run_id}</Link>],
              ['Instead of', one.replaces && <Link key="before" to="/deployments/$id" params={{ id: one.replaces }} className="text-accent underline">{one.replaces}</Link>],
              ['Approval', one.approval_id && <Link key="approval" to="/approvals" search={{ id: one.approval_id }} className="text-accent underline">{one.approval_id}</Link>],
            ]}
          />
        </Section>
        <Health id={one.id} />
      </div>
      {one.policy_events.length > 0 && (
        <Section title="What the policy said">
          <Code label="Policy" text={json(one.policy_events)} className="max-h-60" />
        </Section>
      )}
      <Logs id={one.id} />
      {promoting && next && <Deploy repo={one.repo_name} branch={one.branch} env={next} onClose={() => setPromoting(false)} />}
      {asked && (
        <Confirm open danger={asked === 'stop'} title={asked === 'stop' ? 'Take this deployment away?' : 'Have the one before live again?'} act={asked === 'stop' ? 'Take it away' : 'Roll back'} onClose={() => setAsked(null)} run={run} {...(one.env === 'prod' ? { typed: 'prod' } : {})}>
          <p>{asked === 'stop' ? 'Nothing is put in its place.' : 'What it replaced is served again, as it was.'}</p>
          <TextArea label="Why" value={reason} onChange={setReason} />
        </Confirm>
      )}
    </Page>
  )
}

function Health({ id }: { id: string }) {
  const found = useQuery({ queryKey: ['deployments', id, 'health'], queryFn: ({ signal }) => data(api.GET('/v1/deployments/{id}/health', { params: { path: { id } }, signal })), refetchInterval: 15_000 })
  return (
    <Section title="Health">
      {found.isPending ? <Waiting /> : found.isError ? <ProblemNote error={found.error} again={() => void found.refetch()} /> : (
        <>
          <Note tone={found.data.well === null ? 'calm' : found.data.well ? 'good' : 'bad'}>{found.data.well === null ? 'It was not looked at yet.' : found.data.well ? 'It is well.' : 'It is not well.'}</Note>
          <Facts label="Health" of={[['Looked at', found.data.checked_at && <Time key="at" at={found.data.checked_at} />], ['Answer', found.data.http_status === null ? '' : String(found.data.http_status)], ['After', found.data.latency_ms === null ? '' : `${Math.round(found.data.latency_ms)} ms`], ['Detail', found.data.detail]]} />
        </>
      )}
    </Section>
  )
}

function Logs({ id }: { id: string }) {
  const [offset, setOffset] = useState(0)
  const found = useQuery({ queryKey: ['deployments', id, 'logs', offset], queryFn: ({ signal }) => data(api.GET('/v1/deployments/{id}/logs', { params: { path: { id }, query: { offset, limit: LOG_BYTES } }, signal })) })
  return (
    <Section
      title="What it printed"
      actions={
        <span className="flex gap-2">
          <Button small disabled={offset === 0} onClick={() => setOffset(Math.max(0, offset - LOG_BYTES))}>Before</Button>
          <Button small disabled={!found.data || found.data.next_offset >= found.data.size} onClick={() => setOffset(found.data?.next_offset ?? 0)}>After</Button>
          <Button small icon="spin" onClick={() => void found.refetch()}>Read again</Button>
        </span>
      }
    >
      {found.isPending ? <Waiting /> : found.isError ? <ProblemNote error={found.error} again={() => void found.refetch()} /> : found.data.text ? <Code label="Log" text={found.data.text} /> : <Note>It printed nothing.</Note>}
    </Section>
  )
}
