import { useEffect, useSyncExternalStore } from 'react'
import { cache } from './query'
import { credentials, over, session } from './session'

/**
 * What happens on the server, as it happens: one stream for all tabs of a browser.
 *
 * The tab that holds the lock reads the stream and tells the others. Who looks at something is told by topic: the
 * first word of a query's key. Where nobody handles an item itself, what was read of its topic is read again.
 */
export interface Item {
  id: string
  /** `runs`, `approvals`, …, or one object of a topic: `run:run_…`. */
  topic: string
  type: string
  object: string
  /** Grows per topic and object. */
  version: number
  at: string
  repo: string | null
  branch: string | null
  run_id: string | null
  data: Record<string, unknown> | null
}

export type Connection = 'off' | 'connecting' | 'live' | 'lost'

type Said =
  | { say: 'items'; items: Item[] }
  | { say: 'refetch'; topics: string[] | null }
  | { say: 'state'; state: Connection }
  | { say: 'want'; topics: string[] }
  | { say: 'who' }

const TOPICS = ['runs', 'approvals', 'inbox', 'alerts', 'sandboxes', 'commits', 'pulls', 'deployments', 'prompts', 'evals', 'policies', 'memory', 'artifacts', 'members', 'webhooks', 'projects', 'experiments', 'models', 'datasets', 'endpoints', 'sessions', 'apps', 'audit']
const MOST = 60
const SILENT_MS = 40_000 // a heartbeat comes every 15 s
const FLUSH_MS = 80
const VERSIONS = 5000

const tabs = new BroadcastChannel('builderos-live')
const heard = new Set<() => void>()
const handlers = new Map<string, Set<(item: Item) => void>>()
const versions = new Map<string, number>()
let state: Connection = 'off'
let running: AbortController | null = null

// ------------------------------------------------------------ what pages use

/** How the stream is. */
export function useConnection(): Connection {
  return useSyncExternalStore(
    (listener) => {
      heard.add(listener)
      return () => heard.delete(listener)
    },
    () => state,
  )
}

/** Be told of what happens in a topic, or to one object (`run:run_…`). `handle` may patch what was read. */
export function onLive(topic: string, handle: (item: Item) => void): () => void {
  const all = handlers.get(topic) ?? new Set()
  handlers.set(topic, all.add(handle))
  if (topic.includes(':')) want()
  return () => {
    all.delete(handle)
    if (all.size === 0) handlers.delete(topic)
  }
}

export function useLive(topic: string, handle: (item: Item) => void): void {
  useEffect(() => onLive(topic, handle), [topic, handle])
}

// ------------------------------------------------------------ in this tab

const stale = new Set<string>()
let flushing: ReturnType<typeof setTimeout> | undefined

/** Read again what was read of these topics, once for all that came together. */
function outdate(topic: string): void {
  stale.add(topic)
  flushing ??= setTimeout(() => {
    flushing = undefined
    const now = new Set(stale)
    stale.clear()
    void cache.invalidateQueries({ predicate: (query) => now.has(String(query.queryKey[0])) })
  }, FLUSH_MS)
}

function take(items: readonly Item[]): void {
  for (const item of items) {
    const what = `${item.topic} ${item.object}`
    if ((versions.get(what) ?? -1) >= item.version) continue
    if (versions.size > VERSIONS) versions.clear()
    versions.set(what, item.version)
    for (const handle of handlers.get(item.topic) ?? []) handle(item)
    if (!item.topic.includes(':')) outdate(item.topic)
  }
}

function refetch(topics: readonly string[] | null): void {
  if (topics === null) void cache.invalidateQueries()
  else for (const topic of topics) outdate(topic.split(':', 1)[0] === 'run' ? 'runs' : topic)
}

function become(next: Connection): void {
  if (next === state) return
  state = next
  for (const listener of heard) listener()
}

/** Do it here, and in the other tabs. */
function tell(said: Said): void {
  hear(said)
  tabs.postMessage(said)
}

function hear(said: Said): void {
  if (said.say === 'items') take(said.items)
  else if (said.say === 'refetch') refetch(said.topics)
  else if (said.say === 'state') {
    if (said.state === 'live' && state === 'lost') wake()
    become(said.state)
  }
}

/** The server is back: what waits for its next try is tried now. */
function wake(): void {
  void cache.refetchQueries({ predicate: (query) => query.state.fetchFailureCount > 0 || query.state.status === 'error' })
}

// ------------------------------------------------------------ the tab that reads

const wanted = new Map<string, number>()
let reading: AbortController | null = null
let leads = false

const own = (): string[] => [...handlers.keys()].filter((topic) => topic.includes(':'))

/** Say which objects this tab looks at. */
function want(): void {
  const topics = own()
  if (leads) more(topics)
  else tabs.postMessage({ say: 'want', topics } satisfies Said)
}

/** Take more objects into the stream; those that were wanted long ago make room. */
function more(topics: readonly string[]): void {
  const fresh = topics.filter((topic) => !wanted.has(topic))
  for (const topic of topics) {
    wanted.delete(topic)
    wanted.set(topic, 1)
  }
  while (wanted.size > MOST - TOPICS.length) wanted.delete(wanted.keys().next().value ?? '')
  if (fresh.length > 0) reading?.abort('more')
}

tabs.addEventListener('message', (event: MessageEvent<Said>) => {
  // Whoever has only the token of a workspace has a stream of its own: other tabs may be somebody else.
  const now = session()
  if (now.state === 'in' && now.by === 'token') return
  const said = event.data
  if (said.say === 'want') {
    if (leads) more(said.topics)
  } else if (said.say === 'who') {
    if (leads) tabs.postMessage({ say: 'state', state } satisfies Said)
    else want()
  } else if (!leads) hear(said)
})

// A machine without a network says so at once; a stream that is open would be waited for until it is silent for long.
window.addEventListener('offline', () => reading?.abort('offline'))

/** Begin to listen as who is in now; the returned function ends it. */
export function listen(): () => void {
  const control = new AbortController()
  running?.abort()
  running = control
  const now = session()
  const alone = !('locks' in navigator) || (now.state === 'in' && now.by === 'token')
  become('connecting')
  if (alone) void read(control.signal)
  else {
    tabs.postMessage({ say: 'who' } satisfies Said)
    want()
    void navigator.locks
      .request('builderos-live', { signal: control.signal }, async () => {
        leads = true
        tabs.postMessage({ say: 'who' } satisfies Said)
        more(own())
        await read(control.signal)
      })
      .catch(() => undefined) // ended before its turn came
      .finally(() => {
        leads = false
      })
  }
  return () => {
    control.abort()
    become('off')
  }
}

/** Read until `ended`, connecting anew whenever the reply ends. */
async function read(ended: AbortSignal): Promise<void> {
  const place = { id: '' }
  for (let pause = 0; !ended.aborted; ) {
    if (pause > 0) await rest(pause, ended)
    const went = await once(place, ended)
    if (went === 'refused') return tell({ say: 'state', state: 'off' })
    if (went === 'lost' && !ended.aborted) tell({ say: 'state', state: 'lost' })
    pause = went === 'ended' ? 50 : Math.min(Math.max(250, pause * 2), 5000)
  }
}

/** One reply: `ended` when there is more behind it, `lost` when nobody answers, `refused` when asking again is no use. */
async function once(place: { id: string }, ended: AbortSignal): Promise<'ended' | 'lost' | 'refused'> {
  const control = new AbortController()
  reading = control
  const signal = AbortSignal.any([control.signal, ended])
  let watch = setTimeout(() => control.abort('silent'), SILENT_MS)
  const alive = () => {
    clearTimeout(watch)
    watch = setTimeout(() => control.abort('silent'), SILENT_MS)
  }
  try {
    const topics = [...TOPICS, ...wanted.keys(), ...(leads ? [] : own())].slice(0, MOST)
    const headers: Record<string, string> = { accept: 'text/event-stream', ...credentials('GET') }
    if (place.id) headers['last-event-id'] = place.id
    const reply = await fetch(`/v1/stream?${new URLSearchParams({ topics: topics.join(',') }).toString()}`, { headers, signal, cache: 'no-store' })
    if (reply.status === 401) over()
    if (!reply.ok || !reply.body) return reply.status >= 500 || reply.status === 429 ? 'lost' : 'refused'
    await messages(reply.body, alive, (event, data, id) => {
      if (id) place.id = id
      receive(event, data)
    })
    return 'ended'
  } catch {
    return control.signal.reason === 'more' ? 'ended' : 'lost'
  } finally {
    clearTimeout(watch)
  }
}

function receive(event: string, data: string): void {
  if (!data) return
  const said = JSON.parse(data) as { items?: Item[]; topics?: string[]; resumed?: boolean }
  if (event === 'ready') {
    // What was read before the stream began may be old by now.
    if (!said.resumed) tell({ say: 'refetch', topics: null })
    tell({ say: 'state', state: 'live' })
  } else if (event === 'events') tell({ say: 'items', items: said.items ?? [] })
  else if (event === 'refetch') tell({ say: 'refetch', topics: said.topics ?? null })
}

/** The messages of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.6). */
export async function messages(body: ReadableStream<Uint8Array<ArrayBuffer>>, alive: () => void, on: (event: string, data: string, id: string) => void): Promise<void> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  let event = ''
  let id = ''
  let lines: string[] = []
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    alive()
    const parts = (rest + value).split(/\r\n|\n|\r(?!$)/)
    rest = parts.pop() ?? ''
    for (const line of parts) {
      if (line === '') {
        if (lines.length > 0) on(event || 'message', lines.join('\n'), id)
        event = ''
        lines = []
        continue
      }
      const at = line.indexOf(':')
      const field = at < 0 ? line : line.slice(0, at)
      const text = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '')
      if (field === 'event') event = text
      else if (field === 'id') id = text
      else if (field === 'data') lines.push(text)
    }
  }
}

function rest(ms: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      window.removeEventListener('online', done)
      ended.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms * (0.75 + Math.random() / 2))
    window.addEventListener('online', done)
    ended.addEventListener('abort', done)
  })
}
