import { useQuery, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { Lineage } from '../lineage/Lineage'
import { Readers } from '../lineage/Readers'
import { Who } from '../shell/Who'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { Copy } from '../ui/Copy'
import { CopyAs } from '../ui/CopyAs'
import { Facts } from '../ui/Facts'
import { TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Tabs } from '../ui/Tabs'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { standing, type One } from './Endpoints'
import { Logs } from './Logs'
import { Metrics } from './Metrics'
import { Payloads } from './Payloads'
import { endpointRoute, ENDPOINT_TABS, ENV_WORDS, type EndpointSearch } from './route'
import { Settings } from './Settings'
import { Traffic } from './Traffic'

export const Route = createLazyRoute('/endpoints/$id')({ component: Endpoint })

const Try = lazy(() => import('./Try'))
const TAB_WORDS = { traffic: 'Versions and traffic', metrics: 'Metrics', try: 'Try it', logs: 'Logs', payloads: 'Calls', lineage: 'Lineage', readers: 'Who called it' } as const

function Endpoint() {
  const { id } = endpointRoute.useParams()
  const found = useQuery({
    queryKey: ['endpoints', id],
    queryFn: ({ signal }) => data(api.GET('/v1/endpoints/{id}', { params: { path: { id } }, signal })),
  })
  if (found.isPending) return <Page title="Endpoint"><Waiting /></Page>
  if (found.isError) return <Page title="Endpoint"><ProblemNote error={found.error} again={() => void found.refetch()} /></Page>
  return <Shown one={found.data} />
}

function Shown({ one }: { one: One }) {
  const search = endpointRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const put = (change: EndpointSearch) => void go({ to: '/endpoints/$id', params: { id: one.id }, search: { ...search, ...change }, replace: true })
  const there = ENDPOINT_TABS.filter((tab) => (tab !== 'readers' || may('audit.read')) && (tab !== 'try' || may('endpoint.invoke')) && (tab !== 'payloads' || may('endpoint.payloads')))
  const tab = there.find((each) => each === search.tab) ?? 'traffic'
  const { roles, actors, per_minute } = one.policy
  return (
    <Page
      title={harmless(one.name)}
      below={<Link to="/endpoints" className="text-accent underline">All endpoints</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos endpoint show ${one.id}`, method: 'GET', path: `/v1/endpoints/${one.id}`, mcp: { name: 'showEndpoint', arguments: { id: one.id } } }} />
          {may('endpoint.manage') && one.state === 'active' && <Acts one={one} />}
        </>
      }
    >
      <Facts
        label="The endpoint"
        of={[
          ['State', <Status key="state" of={standing(one)} />],
          ['Environment', ENV_WORDS[one.env]],
          ['Address', <span key="url" className="flex flex-wrap items-center gap-2"><code className="break-all">{harmless(one.url)}</code><Copy text={one.url} /></span>],
          ['Who may call', [(roles ?? []).length > 0 ? `roles ${roles?.join(', ')}` : '', (actors ?? []).length > 0 ? `${actors?.length} named` : ''].filter(Boolean).join('; ') || 'whoever the policy lets call endpoints'],
          ['How often', per_minute ? `${per_minute.toLocaleString('en')} times a minute, all together` : ''],
          ['Processes', processesOf(one)],
          ['Runtime', one.runtime], ['Profile', one.profile], ['Made', <Time key="made" at={one.created_at} />], ['By', <Who key="by" id={one.created_by} />],
        ]}
      />
      <Tabs label="Of this endpoint" tabs={there.map((each) => ({ id: each, label: TAB_WORDS[each] }))} value={tab} onChange={(next) => put({ tab: ENDPOINT_TABS.find((each) => each === next && each !== 'traffic') })}>
        {tab === 'traffic' && <Traffic one={one} can={may('endpoint.manage') && one.state === 'active'} />}
        {tab === 'metrics' && <Metrics one={one} minutes={search.minutes ?? 60} onMinutes={(minutes) => put({ minutes: minutes === 60 ? undefined : minutes })} />}
        {tab === 'try' && <Suspense fallback={<Waiting />}><Try one={one} /></Suspense>}
        {tab === 'logs' && <Logs one={one} chosen={search.deployment} onChoose={(deployment) => put({ deployment })} />}
        {tab === 'payloads' && <Payloads one={one} />}
        {tab === 'lineage' && <Lineage id={one.id} />}
        {tab === 'readers' && <Readers id={one.id} />}
      </Tabs>
    </Page>
  )
}

/** How many answer, in words. */
function processesOf({ scaling, deployments }: One): string {
  const [least, most] = [scaling.min_replicas ?? 1, scaling.max_replicas ?? 1]
  const now = deployments.reduce((sum, each) => sum + (each.status === 'ready' ? each.replicas : 0), 0)
  return `${now} now; ${least === most ? `${most} for each version` : `${least} to ${most} for each version, another one from ${scaling.target ?? 4} calls at once`}`
}

/** Another version, the way back, the end. */
function Acts({ one }: { one: One }) {
  const cache = useQueryClient()
  const may = useMay()
  const [ask, setAsk] = useState<'deploy' | 'rollback' | 'settings' | 'stop' | null>(null)
  const [model, setModel] = useState('')
  const [share, setShare] = useState('100')
  const path = { params: { path: { id: one.id } } }
  const then = <T,>(call: Promise<T>) => call.then(() => cache.invalidateQueries({ queryKey: ['endpoints'] }))
  const close = () => setAsk(null)
  const typed = one.env === 'prod' ? { typed: one.name } : {}
  return (
    <>
      <Button look="main" onClick={() => setAsk('deploy')}>Another version</Button>
      <Button icon="undo" onClick={() => setAsk('rollback')}>Roll back</Button>
      <Button onClick={() => setAsk('settings')}>Settings</Button>
      <Button look="danger" onClick={() => setAsk('stop')}>Stop</Button>
      {ask === 'settings' && <Settings one={one} kept={may('endpoint.payloads')} onClose={close} />}
      {ask === 'deploy' && (
        <Confirm open onClose={close} title="Another version for this endpoint" act="Start it" run={() => then(data(api.POST('/v1/endpoints/{id}/deploy', { ...path, body: { model_version: model.trim(), share: Number(share) } })))} {...typed}>
          <p>What answers now goes on until it answers.</p>
          <TextField label="Version" required placeholder="iris@4" value={model} onChange={setModel} />
          <TextField label="Percent of the calls that it gets then" type="number" min={0} max={100} required value={share} onChange={setShare} />
        </Confirm>
      )}
      <Confirm open={ask === 'rollback'} onClose={close} title="Have it answer as before?" act="Roll back" run={() => then(data(api.POST('/v1/endpoints/{id}/rollback', { ...path, body: {} })))} {...typed}>
        <p>The traffic is split as it was before its last change, at once.</p>
      </Confirm>
      <Confirm open={ask === 'stop'} danger onClose={close} title="Stop this endpoint?" act="Stop it" run={() => then(data(api.POST('/v1/endpoints/{id}/stop', { ...path, body: {} })))} typed={one.name}>
        <p>Its processes end, and nothing answers there any more.</p>
      </Confirm>
    </>
  )
}
