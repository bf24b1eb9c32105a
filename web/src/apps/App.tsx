import { useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Lineage } from '../lineage/Lineage'
import { Readers } from '../lineage/Readers'
import { Who } from '../shell/Who'
import { Button } from '../ui/Button'
import { Copy } from '../ui/Copy'
import { CopyAs } from '../ui/CopyAs'
import { Facts } from '../ui/Facts'
import { Select } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { Note, ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { Pieces } from '../ui/Pieces'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Tabs } from '../ui/Tabs'
import { duration, Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { Acts } from './Acts'
import { isChanging, KIND_WORDS, type One } from './Apps'
import { appRoute, APP_TABS, type AppSearch } from './route'

export const Route = createLazyRoute('/apps/$id')({ component: App })

const TAB_WORDS = { releases: 'Releases', logs: 'Logs', settings: 'Settings', lineage: 'Lineage', readers: 'Who opened it' } as const

function App() {
  const { id } = appRoute.useParams()
  const found = useQuery({
    queryKey: ['apps', id],
    queryFn: ({ signal }) => data(api.GET('/v1/apps/{id}', { params: { path: { id } }, signal })),
  })
  if (found.isPending) return <Page title="App"><Waiting /></Page>
  if (found.isError) return <Page title="App"><ProblemNote error={found.error} again={() => void found.refetch()} /></Page>
  return <Shown one={found.data} />
}

function Shown({ one }: { one: One }) {
  const search = appRoute.useSearch()
  const go = useNavigate()
  const audits = useMay()('audit.read')
  const put = (change: AppSearch) => void go({ to: '/apps/$id', params: { id: one.id }, search: { ...search, ...change }, replace: true })
  const there = APP_TABS.filter((each) => each !== 'readers' || audits)
  const tab = there.find((each) => each === search.tab) ?? 'releases'
  return (
    <Page
      title={harmless(one.name)}
      below={<Link to="/apps" className="text-accent underline">All apps</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos app show ${one.id}`, method: 'GET', path: `/v1/apps/${one.id}`, mcp: { name: 'showApp', arguments: { id: one.id } } }} />
          <Acts one={one} />
        </>
      }
    >
      <Facts
        label="The app"
        of={[
          ['State', <Status key="state" of={one.standing} />],
          ['Live', one.current && `Release ${one.current.number} of ${one.current.commit_sha.slice(0, 10)}`],
          ['Address', one.url && <span key="url" className="flex flex-wrap items-center gap-2"><code className="break-all">{harmless(one.url)}</code><Copy text={one.url} /></span>],
          ['Kind', KIND_WORDS[one.type]],
          ['From', `${one.source.repo_name} / ${one.source.branch ?? 'main'} / ${one.source.path ?? ''}`],
          ['For whom', one.policy.open === 'public' ? 'Whoever reaches the door' : [(one.policy.roles ?? []).join(', '), (one.policy.actors ?? []).length > 0 ? `${one.policy.actors?.length} named` : ''].filter(Boolean).join('; ') || 'Members and keys that the policy lets'],
        ]}
      />
      {one.latest?.status === 'failed' && <Note tone="bad">Release {one.latest.number} did not become live: {harmless(one.latest.detail || (one.latest.reason ?? ''))}</Note>}
      <Tabs label="Of this app" tabs={there.map((each) => ({ id: each, label: TAB_WORDS[each] }))} value={tab} onChange={(next) => put({ tab: APP_TABS.find((each) => each === next && each !== 'releases') })}>
        {tab === 'releases' && <Releases one={one} onLogs={(release, of) => put({ tab: 'logs', release, of })} />}
        {tab === 'logs' && <Logs key={`${search.release} ${search.of}`} one={one} search={search} put={put} />}
        {tab === 'settings' && <Settings one={one} />}
        {tab === 'lineage' && <Lineage id={one.id} />}
        {tab === 'readers' && <Readers id={one.id} />}
      </Tabs>
    </Page>
  )
}

function Releases({ one, onLogs }: { one: One; onLogs: (release: string, of: 'build' | undefined) => void }) {
  return (
    <Listing
      label="All releases"
      queryKey={['apps', one.id, 'releases', one.latest?.status ?? '', one.current?.id ?? '']}
      read={(cursor, signal) => data(api.GET('/v1/apps/{id}/releases', { params: { path: { id: one.id }, query: { limit: 100, cursor } }, signal }))}
      keyOf={(row) => row.id}
      empty="Nothing was released yet."
      command={`builderos app release ${one.id}`}
      className="max-h-[50vh]"
      columns={[
        { id: 'number', title: 'Release', width: '6rem', align: 'right', cell: (row) => row.number },
        { id: 'status', title: 'State', width: '9rem', cell: (row) => <Status of={row.status} /> },
        { id: 'commit', title: 'Commit', width: 'minmax(10rem, 1fr)', cell: (row) => <><code>{row.commit_sha.slice(0, 10)}</code> <bdi className="text-muted">{harmless(row.branch)}</bdi></> },
        { id: 'crashes', title: 'Starts, crashes', width: '9rem', align: 'right', cell: (row) => `${row.starts}, ${row.crashes}` },
        { id: 'detail', title: 'What happened', width: 'minmax(12rem, 2fr)', cell: (row) => <bdi title={harmless(row.detail.slice(0, 2000))}>{harmless((row.detail || (row.reason ?? '')).slice(0, 300))}</bdi> },
        { id: 'made', title: 'Asked', width: '9rem', cell: (row) => <Time at={row.created_at} /> },
        { id: 'logs', title: 'Printed', width: '11rem', cell: (row) => <span className="flex gap-1"><Button small aria-label={`Build log of release ${row.number}`} onClick={() => onLogs(row.id, 'build')}>Build log</Button><Button small aria-label={`Log of release ${row.number}`} onClick={() => onLogs(row.id, undefined)}>Log</Button></span> },
      ]}
    />
  )
}

function Logs({ one, search, put }: { one: One; search: AppSearch; put: (change: AppSearch) => void }) {
  const release = search.release ?? one.latest?.id
  const of = search.of ?? 'process'
  if (!release) return <Note>Nothing was released yet.</Note>
  return (
    <div className="flex flex-col gap-3">
      <div className="w-48"><Select label="Of" value={of} onChange={(value) => put({ of: value === 'build' ? 'build' : undefined })} options={[['process', 'Its process'], ['build', 'Its build']]} /></div>
      <Pieces title="What it printed" queryKey={['apps', one.id, release, of]} grows={isChanging(one) || (of === 'process' && one.standing === 'awake')} empty="It printed nothing." read={(offset, limit, signal) => data(api.GET('/v1/apps/{id}/logs', { params: { path: { id: one.id }, query: { release, of, offset, limit } }, signal }))} />
    </div>
  )
}

/** What it is started with; secrets by name alone. */
function Settings({ one }: { one: One }) {
  const { health }: { health: Schemas['Health'] } = one
  return (
    <Facts
      label="Settings"
      of={[
        ['Command', one.command && <code key="command" className="break-all">{harmless(one.command)}</code>],
        ['Runs first', one.build && <code key="build" className="break-all">{harmless(one.build)}</code>],
        ['Runtime', one.runtime], ['Profile', one.profile],
        ['Variables', Object.entries(one.env).map(([key, value]) => `${key}=${value.slice(0, 200)}`).join(', ')],
        ['Secrets', one.secrets.join(', ') || 'none'],
        ['May call', [...one.endpoints, ...one.models].join(', ')],
        ['May reach', one.network.join(', ') || 'nothing'],
        ['Is well when', `${health.path ?? '/'} answers ${health.status ?? 200} within ${health.within_s ?? 60} s`],
        ['Served below', one.base_path || '/'],
        ['Sleeps after', one.idle_timeout === 0 ? 'never' : `${duration(one.idle_timeout * 1000)} without a request`],
        ['Made', <Time key="made" at={one.created_at} />], ['By', <Who key="by" id={one.created_by} />],
      ]}
    />
  )
}
