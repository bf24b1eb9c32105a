import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { METER_MS } from '../api/query'
import { bytes } from '../runs/ArtifactsTab'
import { Who } from '../shell/Who'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { Facts } from '../ui/Facts'
import { Note, ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { Pieces, type Piece } from '../ui/Pieces'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { duration, Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { sessionRoute } from './route'
import { isOpen, type Session as One } from './Sessions'

export const Route = createLazyRoute('/sessions/$id')({ component: Session })

const WAYS_ENDED = new Set(['stopped', 'failed', 'timed_out'])

function Session() {
  const { id } = sessionRoute.useParams()
  const found = useQuery({
    queryKey: ['sessions', id],
    queryFn: ({ signal }) => data(api.GET('/v1/sessions/{id}', { params: { path: { id } }, signal })),
    refetchInterval: ({ state }) => (state.data?.resources ? METER_MS : false),
  })
  if (found.isPending) return <Page title="Session"><Waiting /></Page>
  if (found.isError) return <Page title="Session"><ProblemNote error={found.error} again={() => void found.refetch()} /></Page>
  return <Shown one={found.data} />
}

function Shown({ one }: { one: One }) {
  return (
    <Page
      title={`${one.kind === 'shell' ? 'Shell' : one.editor === 'marimo' ? 'marimo notebook' : 'Notebook'} on ${harmless(one.branch)}`}
      below={<Link to="/sessions" className="text-accent underline">All sessions</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos session show ${one.id}`, method: 'GET', path: `/v1/sessions/${one.id}`, mcp: { name: 'showSession', arguments: { id: one.id } } }} />
          <Acts one={one} />
        </>
      }
    >
      <div className="grid gap-5 lg:grid-cols-2">
        <Section title="How it stands">
          <Facts
            label="The session"
            of={[
              ['State', <Status key="state" of={one.status} />], ['Why', one.detail || one.reason],
              ['Repository', <Link key="repo" to="/projects" search={{ repo: one.repo_name }} className="text-accent underline">{harmless(one.repo_name)}</Link>], ['Branch', one.branch],
              ['Runtime', one.runtime], ['Profile', one.profile], ['May call', [...one.endpoints, ...one.models].join(', ')], ['Stops after', `${duration(one.idle_timeout * 1000)} without work`], ['Starts', String(one.starts)],
              ['Started', one.started_at && <Time key="started" at={one.started_at} />], ['Last active', one.last_active_at && <Time key="active" at={one.last_active_at} />], ['Ended', one.ended_at && <Time key="ended" at={one.ended_at} />], ['By', <Who key="by" id={one.created_by} />],
            ]}
          />
        </Section>
        <div className="flex flex-col gap-5">
          {one.resources ? <Section title="What it uses now"><Meters of={one.resources} /></Section> : <Section title="What it used"><Used of={one.usage} /></Section>}
          <Section title="What was kept"><Kept of={one.checkpoint} /></Section>
        </div>
      </div>
      <Pieces title="What it printed" queryKey={['sessions', one.id]} grows={isOpen(one)} empty="It printed nothing." read={(offset, limit, signal) => piece(one.id, offset, limit, signal)} />
    </Page>
  )
}

/** A part of the log as JSON; its other form, a stream, is not asked for. */
const piece = (id: string, offset: number, limit: number, signal: AbortSignal): Promise<Piece> =>
  data(api.GET('/v1/sessions/{id}/logs', { params: { path: { id }, query: { offset, limit } }, signal })) as Promise<Piece>

/** What it uses of what it may. */
function Meters({ of }: { of: Schemas['Resources'] }) {
  const meters: readonly (readonly [string, number, number, string])[] = [
    ['Memory', of.memory, of.memory_limit, `${bytes(of.memory)} of ${bytes(of.memory_limit)}`],
    ['Disk', of.disk, of.disk_limit, `${bytes(of.disk)} of ${bytes(of.disk_limit)}`],
    ['Processes', of.processes, of.processes_limit, `${of.processes.toLocaleString('en')} of ${of.processes_limit.toLocaleString('en')}`],
  ]
  return (
    <>
      <ul className="flex flex-col gap-2">
        {meters.map(([name, value, most, words]) => (
          <li key={name} className="grid grid-cols-[6rem_1fr_max-content] items-center gap-3 text-sm">
            <span className="text-muted">{name}</span>
            <meter aria-label={name} min={0} max={Math.max(1, most)} high={most * 0.8} value={Math.min(value, most)} aria-valuetext={words} className="w-full" />
            <span>{words}</span>
          </li>
        ))}
      </ul>
      <p className="text-sm text-muted">{duration(of.cpu_s * 1000)} of processor since it started; {of.cpu_limit} {of.cpu_limit === 1 ? 'processor' : 'processors'} at most.</p>
    </>
  )
}

/** A measure in words: the unit stands at the end of its name. */
function measured(name: string, value: unknown): string {
  if (typeof value !== 'number') return typeof value === 'string' ? value : JSON.stringify(value)
  if (/(^|_)bytes$|^(memory|io|network)_/.test(name)) return bytes(value)
  if (/(^|_)ms$/.test(name)) return duration(value)
  return /(^|_)(s|seconds)$/.test(name) ? duration(value * 1000) : value.toLocaleString('en', { maximumSignificantDigits: 6 })
}

const spelled = (name: string): string => {
  const words = name.replace(/_(s|ms|bytes|seconds)$/, '').replaceAll('_', ' ').replace(/^io /, 'files ').replace(/^cpu$/, 'processor').replace(/^wall$/, 'time')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

function Used({ of }: { of: One['usage'] }) {
  const known = Object.entries(of ?? {}).filter(([, value]) => value !== null && typeof value !== 'object')
  if (known.length === 0) return <p className="text-muted">It is told when the session ends.</p>
  return <Facts label="What it used" of={known.map(([name, value]) => [spelled(name), measured(name, value)] as const)} />
}

const CHECKPOINT_WORDS: Record<string, string> = { conflicts: 'Changed by somebody else, too', large: 'Too large for git', artifacts: 'Became artifacts', not_kept: 'Not kept', links: 'Links, not committed' }

function Kept({ of }: { of: One['checkpoint'] }) {
  if (!of) return <p className="text-muted">Nothing was committed yet: it is done when the session ends, or now.</p>
  const { commit, files, problem, ...rest } = of as Record<string, unknown>
  return (
    <>
      {typeof problem === 'string' && problem !== '' && <Note tone="bad">{harmless(problem)}</Note>}
      <Facts
        label="What was kept"
        of={[
          ['Commit', typeof commit === 'string' && commit !== '' && <code key="commit" className="break-all">{commit}</code>],
          ['Files', typeof files === 'number' ? String(files) : ''],
          ...Object.entries(CHECKPOINT_WORDS).map(([name, words]) => [words, listed(rest[name])] as const),
        ]}
      />
    </>
  )
}

const listed = (value: unknown): string => (Array.isArray(value) ? value.slice(0, 50).map((one) => harmless(typeof one === 'string' ? one : JSON.stringify(one))).join(', ') : '')

function Acts({ one }: { one: One }) {
  const may = useMay(one.id)
  const cache = useQueryClient()
  const [stopping, setStopping] = useState(false)
  const [way, setWay] = useState<string | null>(null)
  const again = () => cache.invalidateQueries({ queryKey: ['sessions'] })
  const call = { params: { path: { id: one.id } }, body: {} }
  const restart = useMutation({ mutationFn: () => data(api.POST('/v1/sessions/{id}/restart', call)), onSuccess: again, onError: told })
  const checkpoint = useMutation({ mutationFn: () => data(api.POST('/v1/sessions/{id}/checkpoint', call)), onSuccess: async () => { toast('Its files are committed.'); await again() }, onError: told })
  const open = useMutation({ mutationFn: () => data(api.POST('/v1/sessions/{id}/token', call)), onError: told })
  const enter = () => {
    // The window is opened by the press itself; a browser would block one that comes later.
    const page = window.open('about:blank', '_blank')
    if (page) page.opener = null
    open.mutate(undefined, {
      onSuccess: ({ url }) => {
        if (!/^https?:\/\//.test(url)) return
        if (page) page.location.replace(url)
        else setWay(url)
      },
      onError: () => page?.close(),
    })
  }
  const runs = one.status === 'running' || one.status === 'idle'
  return (
    <>
      {runs && may('session.use') && <Button look="main" icon="external" busy={open.isPending} onClick={enter}>Open</Button>}
      {way && <a href={way} target="_blank" rel="noreferrer noopener" className="text-accent underline" onClick={() => setWay(null)}>The way in, once</a>}
      {runs && may('session.use') && <Button busy={checkpoint.isPending} onClick={() => checkpoint.mutate()}>Commit its files</Button>}
      {WAYS_ENDED.has(one.status) && may('session.start') && <Button look="main" busy={restart.isPending} onClick={() => restart.mutate()}>Start it again</Button>}
      {isOpen(one) && one.status !== 'stopping' && may('session.stop') && <Button look="danger" onClick={() => setStopping(true)}>Stop</Button>}
      <Confirm open={stopping} danger onClose={() => setStopping(false)} title="Stop this session?" act="Stop it" run={async () => { await data(api.POST('/v1/sessions/{id}/stop', call)); await again() }}>
        <p>Its kernels end. Its files are kept and committed to the branch.</p>
      </Confirm>
    </>
  )
}

const told = (error: unknown): void => toast(error instanceof Error ? error.message : 'It could not be done.', { tone: 'bad' })
