import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useMemo, useState, type ComponentProps } from 'react'
import { api, data, type Schemas } from '../api/client'
import { credentials } from '../api/session'
import { Button } from '../ui/Button'
import { Copy } from '../ui/Copy'
import { EmptyState } from '../ui/EmptyState'
import { Icon } from '../ui/Icon'
import { ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { useWindow } from '../ui/windowed'
import type { Pane } from './Run'
import { treeOf } from './tree'

type Artifact = Schemas['Artifact']
const ROW_PX = 28
const SHOWN_BYTES = 128 * 1024
const SHOWN_LINES = 1500
const IMAGES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif'])
const IMAGE_BYTES = 8 * 1024 * 1024

/** What the run kept: by folder, with its hash; safe kinds can be looked at here. */
export default function ArtifactsTab({ id, step }: Pane) {
  const list = useInfiniteQuery({
    queryKey: ['run', id, 'artifacts'],
    queryFn: ({ signal, pageParam }) => data(api.GET('/v1/artifacts', { params: { query: { run_id: id, limit: 200, ...(pageParam ? { cursor: pageParam } : {}) } }, signal })),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
  })
  const [chosen, setChosen] = useState<string | null>(null)
  const items = useMemo(() => (list.data?.pages.flatMap((page) => page.items) ?? []).filter((one) => !step || one.step_id === step.id), [list.data, step])
  const [shut, setShut] = useState<ReadonlySet<string>>(new Set())
  const lines = useMemo(() => treeOf(items, shut), [items, shut])
  const view = useWindow(lines.length, ROW_PX)
  if (list.isPending) return <Waiting />
  if (list.isError) return <ProblemNote error={list.error} again={() => void list.refetch()} />
  if (items.length === 0) return <EmptyState title={step ? 'This step kept nothing.' : 'This run kept nothing.'} command={`builderos artifacts list --run ${id}`} />
  const shown = items.find((one) => one.id === chosen) ?? items[0]
  return (
    <div className="grid gap-3 lg:grid-cols-[minmax(18rem,1fr)_2fr]">
      <div ref={view.frame} role="region" aria-label="Artifacts" tabIndex={0} className="h-[50vh] overflow-auto rounded-lg border border-line bg-panel">
        <ul className="relative" style={{ height: view.height }}>
          {lines.slice(view.from, view.to).map((line, n) => (
            <li key={line.kind === 'folder' ? line.path : line.of.id} className="absolute inset-x-0 top-0" style={{ transform: `translateY(${view.shift + n * ROW_PX}px)` }}>
              {line.kind === 'folder' ? (
                <Row deep={line.deep} aria-expanded={line.open} onClick={() => setShut((was) => flipped(was, line.path))} right={line.open ? '' : `${line.files} ${line.files === 1 ? 'file' : 'files'}`}>
                  <Icon name={line.open ? 'down' : 'right'} className="mr-1 text-muted" />
                  {shownLine(line.name, 200)}
                </Row>
              ) : (
                <Row deep={line.deep} aria-pressed={line.of.id === shown?.id} onClick={() => setChosen(line.of.id)} right={bytes(line.of.size)}>
                  {shownLine(line.name, 200)}
                </Row>
              )}
            </li>
          ))}
        </ul>
        {list.hasNextPage && (
          <Button small className="sticky bottom-1 left-1" busy={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
            More
          </Button>
        )}
      </div>
      {shown && <Shown key={shown.id} one={shown} />}
    </div>
  )
}

const flipped = (was: ReadonlySet<string>, path: string): ReadonlySet<string> => {
  const next = new Set(was)
  if (!next.delete(path)) next.add(path)
  return next
}

const DEEPEST = 12

/** A line of the tree, as far in as it lies deep. */
function Row({ deep, right, children, ...rest }: ComponentProps<'button'> & { deep: number; right: string }) {
  return (
    <button
      type="button"
      {...rest}
      style={{ paddingLeft: `${0.75 + Math.min(deep, DEEPEST) * 1.1}rem` }}
      className="flex h-7 w-full items-center gap-2 pr-3 text-left text-sm hover:bg-raised aria-pressed:bg-raised aria-pressed:font-medium"
    >
      <span className="min-w-0 grow truncate">
        <bdi>{children}</bdi>
      </span>
      <span className="shrink-0 text-muted">{right}</span>
    </button>
  )
}

export const bytes = (size: number): string => (size < 1024 ? `${size} B` : size < 1048576 ? `${(size / 1024).toFixed(1)} KB` : `${(size / 1048576).toFixed(1)} MB`)

/** An artifact: what it is, its bytes, and a look at kinds that are safe to look at. */
export function Shown({ one }: { one: Artifact }) {
  const get = async () => {
    const reply = await fetch(`/v1/artifacts/${one.id}/content`, { headers: credentials('GET') })
    if (!reply.ok) return toast('It could not be read.', { tone: 'bad' })
    save(await reply.blob(), one.path.split('/').at(-1) || 'artifact')
  }
  return (
    <section aria-label="Artifact" className="flex min-w-0 flex-col gap-3 rounded-lg border border-line bg-panel p-3">
      <div className="flex flex-wrap items-center gap-2">
        <h2 className="min-w-0 grow font-medium break-all">
          <bdi>{shownLine(one.path, 400)}</bdi>
        </h2>
        {one.gone_at === null && (
          <Button small icon="download" onClick={() => void get()}>
            Download
          </Button>
        )}
      </div>
      <dl className="grid grid-cols-[6rem_1fr] gap-y-1 text-sm">
        <dt className="text-muted">Kind</dt>
        <dd>
          {harmless(one.media_type)}, {bytes(one.size)}
        </dd>
        <dt className="text-muted">SHA-256</dt>
        <dd className="flex min-w-0 flex-wrap items-center gap-2">
          <code className="font-mono break-all">{one.hash.replace('sha256:', '')}</code>
          <Copy text={one.hash.replace('sha256:', '')} />
        </dd>
        <dt className="text-muted">Made by</dt>
        <dd>{harmless([one.created_by_agent ?? one.created_by, one.created_by_prompt].filter(Boolean).join(', with '))}</dd>
        {one.redacted && (
          <>
            <dt className="text-muted">Note</dt>
            <dd>Secrets were taken out before it was kept.</dd>
          </>
        )}
      </dl>
      {one.gone_at !== null ? <p className="text-muted">Its content is gone ({one.gone_why}).</p> : <Preview one={one} />}
    </section>
  )
}

/** Put a file into the downloads of the browser. */
export function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content)
  const link = document.createElement('a')
  link.href = url
  link.download = name.replace(/[^\p{L}\p{N}._ -]/gu, '_')
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

function Preview({ one }: { one: Artifact }) {
  const kind = one.media_type.split(';')[0]?.trim().toLowerCase() ?? ''
  if (IMAGES.has(kind) && one.size <= IMAGE_BYTES) return <Image one={one} kind={kind} />
  return <TextOf one={one} />
}

function Image({ one, kind }: { one: Artifact; kind: string }) {
  const image = useQuery({
    queryKey: ['artifacts', one.id, 'image'],
    queryFn: async ({ signal }) => {
      const reply = await fetch(`/v1/artifacts/${one.id}/content`, { headers: credentials('GET'), signal })
      if (!reply.ok) throw new Error('it could not be read')
      return URL.createObjectURL(new Blob([await reply.arrayBuffer()], { type: kind }))
    },
    staleTime: Infinity,
  })
  if (image.isError) return <ProblemNote error={image.error} />
  return image.data ? <img src={image.data} alt={harmless(one.path)} className="max-h-[50vh] max-w-full self-start object-contain" /> : <Waiting />
}

/** The beginning of a file as text, whatever it says that it is: markup is shown, never carried out. */
function TextOf({ one }: { one: Artifact }) {
  const text = useQuery({
    queryKey: ['artifacts', one.id, 'text'],
    queryFn: async ({ signal }) => {
      const headers = one.size > SHOWN_BYTES ? { ...credentials('GET'), range: `bytes=0-${SHOWN_BYTES - 1}` } : credentials('GET')
      const reply = await fetch(`/v1/artifacts/${one.id}/content`, { headers, signal })
      if (!reply.ok) throw new Error('it could not be read')
      const raw = new Uint8Array(await reply.arrayBuffer())
      if (raw.subarray(0, 8000).includes(0)) return null
      return new TextDecoder().decode(raw).split('\n', SHOWN_LINES).map((line) => shownLine(line)).join('\n')
    },
    staleTime: Infinity,
  })
  if (text.isPending) return <Waiting />
  if (text.isError) return <ProblemNote error={text.error} />
  if (text.data === null) return <p className="text-muted">Not a text: download it to look at it.</p>
  return (
    <div role="region" aria-label="Content" tabIndex={0} className="max-h-[50vh] overflow-auto rounded-md border border-line bg-page p-2">
      <pre dir="ltr" className="font-mono text-[0.8rem]">
        {text.data}
      </pre>
      {one.size > SHOWN_BYTES && <p className="text-sm text-muted">The first {bytes(SHOWN_BYTES)} of {bytes(one.size)}.</p>}
    </div>
  )
}
