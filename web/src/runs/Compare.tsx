import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useMemo, type ReactNode } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { DiffReview } from '../ui/DiffReview'
import { filesOf, linesOf, type FileDiff } from '../ui/diffs'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table, type Column } from '../ui/Table'
import { duration, Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { took, useRun, type Step, type View } from './data'
import { compareRoute } from './route'

export const Route = createLazyRoute('/runs/compare')({ component: Compare })

type Change = Schemas['FileChange']
type Artifact = Schemas['Artifact']

/** Something that one run has, or the other, or both. */
interface Pair<T> {
  key: string
  a: T | undefined
  b: T | undefined
}

function Compare() {
  const { a, b } = compareRoute.useSearch()
  if (!a || !b)
    return (
      <Page title="Compare two runs" actions={<CopyAs call={{ cli: 'builderos run list', method: 'GET', path: '/v1/runs', mcp: { name: 'listRuns', arguments: {} } }} />}>
        <EmptyState title="Choose two runs in the list, and press Compare." command="builderos run list" />
      </Page>
    )
  return <Both a={a} b={b} />
}

function Both({ a, b }: { a: string; b: string }) {
  const go = useNavigate()
  const [one, other] = [useRun(a), useRun(b)]
  const error = one.error ?? other.error
  if (error) return <Page title="Compare two runs">{<ProblemNote error={error} />}</Page>
  if (!one.view || !other.view)
    return (
      <Page title="Compare two runs">
        <Waiting />
      </Page>
    )
  return (
    <Page
      title="Compare two runs"
      below="A stands on the left, B on the right."
      actions={<Button onClick={() => void go({ to: '/runs/compare', search: { a: b, b: a }, replace: true })}>Exchange them</Button>}
    >
      <div className="grid gap-4 sm:grid-cols-2">
        <Head word="A" id={a} view={one.view} other={other.view} />
        <Head word="B" id={b} view={other.view} other={one.view} />
      </div>
      <Steps a={one.steps} b={other.steps} />
      <Changes a={a} b={b} views={[one.view, other.view]} />
      <Outputs a={a} b={b} />
    </Page>
  )
}

const text = (value: unknown): string => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))

function Head({ word, id, view, other }: { word: string; id: string; view: View; other: View }) {
  const { run } = view
  const facts = (of: View): readonly (readonly [string, string])[] => [
    ['Branch', of.run.branch ? `${of.run.repo_name} / ${of.run.branch}` : ''],
    ['Began at', text(of.provenance?.base_sha).slice(0, 10)],
    ['By', text(of.provenance?.started_by_name || of.provenance?.started_by || 'BuilderOS')],
    ...Object.entries(of.params ?? {}).map(([name, value]) => [`Input ${name}`, text(value)] as const),
  ]
  const theirs = new Map(facts(other))
  return (
    <section aria-label={`Run ${word}`} className="min-w-0 rounded-lg border border-line bg-panel p-3">
      <h2 className="flex flex-wrap items-center gap-x-3">
        <span className="grow">
          {word}:{' '}
          <Link to="/runs/$id" params={{ id }} className="text-accent underline">
            <bdi>{harmless(run.pipeline_id)}</bdi>
          </Link>
        </span>
        <Status of={run.status} />
        <CopyAs call={{ cli: `builderos run show ${id}`, method: 'GET', path: `/v1/runs/${id}`, mcp: { name: 'showRun', arguments: { id } } }} />
      </h2>
      <p className="text-sm text-muted">
        <Time at={run.created_at} />
        {run.ended_at && `, took ${duration(took(run.started_at ?? run.created_at, run.ended_at, 0))}`}
      </p>
      <dl className="mt-2 grid grid-cols-[max-content_minmax(0,1fr)] gap-x-4 gap-y-1 text-sm">
        {facts(view)
          .filter(([, value]) => value)
          .map(([name, value]) => (
            <div key={name} className="contents">
              <dt className="text-muted">{harmless(name).slice(0, 80)}</dt>
              <dd className={`min-w-0 break-words ${theirs.get(name) === value ? '' : 'font-medium'}`}>
                {shownLine(value, 300)}
                {theirs.get(name) !== value && <span className="text-warn"> differs</span>}
              </dd>
            </div>
          ))}
      </dl>
      {run.detail && <p className="mt-2 text-sm text-bad">{shownLine(run.detail, 300)}</p>}
    </section>
  )
}

function paired<T>(a: readonly T[], b: readonly T[], keyOf: (one: T) => string): Pair<T>[] {
  const found = new Map<string, Pair<T>>()
  for (const one of a) found.set(keyOf(one), { key: keyOf(one), a: one, b: undefined })
  for (const one of b) found.set(keyOf(one), { key: keyOf(one), a: found.get(keyOf(one))?.a, b: one })
  return [...found.values()]
}

const lasted = (step: Step | undefined): number | null => (step?.start && step.end ? Date.parse(step.end) - Date.parse(step.start) : null)

function Took({ step }: { step: Step | undefined }): ReactNode {
  if (!step) return <span className="text-muted">not there</span>
  const ms = lasted(step)
  return (
    <span className="flex flex-wrap items-center gap-x-2">
      <Status of={step.status} />
      {ms !== null && <span className="text-sm text-muted">{duration(ms)}</span>}
    </span>
  )
}

function more({ a, b }: Pair<Step>): string {
  const [from, to] = [lasted(a), lasted(b)]
  if (from === null || to === null) return ''
  const by = to - from
  return Math.abs(by) < 50 ? 'the same' : `${by > 0 ? '+' : '−'}${duration(Math.abs(by))}`
}

const STEPS: readonly Column<Pair<Step>>[] = [
  { id: 'step', title: 'Step', width: 'minmax(9rem, 1.5fr)', cell: (row) => <bdi title={harmless(row.key)}>{harmless(row.key).slice(0, 200)}</bdi> },
  { id: 'a', title: 'A', width: 'minmax(11rem, 1fr)', cell: (row) => <Took step={row.a} /> },
  { id: 'b', title: 'B', width: 'minmax(11rem, 1fr)', cell: (row) => <Took step={row.b} /> },
  { id: 'more', title: 'B against A', width: '8rem', align: 'right', cell: (row) => <span className={row.a?.status === row.b?.status ? '' : 'font-medium text-warn'}>{row.a?.status === row.b?.status ? more(row) : 'differs'}</span> },
]

function Steps({ a, b }: { a: readonly Step[]; b: readonly Step[] }) {
  const rows = useMemo(() => paired(a, b, (step) => step.name), [a, b])
  return (
    <Section title="Steps">
      <Table label="Steps of both" rows={rows} columns={STEPS} keyOf={(row) => row.key} rowHeight={40} className="max-h-[45vh]" />
    </Section>
  )
}

const MOST = 200

interface Changed {
  files: readonly FileDiff[]
  total: number
}

/** What a run changed; of one that waits for a yes, what it waits with. */
function useChanges(id: string, view: View) {
  const asked = view.gates?.find((gate) => gate.kind === 'approval' && gate.state === 'waiting')?.approval_id ?? ''
  return useQuery({
    queryKey: ['run', id, 'changes', 'compared', asked, view.diff?.result_tree ?? ''],
    queryFn: async ({ signal }): Promise<Changed> => {
      if (asked) {
        const files = filesOf((await data(api.GET('/v1/approvals/{id}', { params: { path: { id: asked } }, signal }))).diff ?? '')
        return { files: files.slice(0, MOST), total: files.length }
      }
      const found = await data(api.GET('/v1/runs/{id}/diff', { params: { path: { id }, query: { limit: MOST } }, signal }))
      return { files: found.files.map(fileOf), total: found.files_total }
    },
  })
}

const fileOf = (file: Change): FileDiff => ({ path: file.path, status: file.status, added: file.added, deleted: file.deleted, note: file.binary ? 'Not a text, or too large to be shown here.' : file.truncated ? 'There is more of this file than is shown here.' : '', lines: linesOf(file.text) })

const counted = (file: FileDiff | undefined): ReactNode =>
  file ? (
    <span>
      {file.status} <span className="text-good">+{file.added}</span> <span className="text-bad">−{file.deleted}</span>
    </span>
  ) : (
    <span className="text-muted">not changed</span>
  )

const said = (file: FileDiff): string => JSON.stringify([file.status, file.added, file.deleted, file.lines.map((line) => [line.kind, line.text])])

/** What is between two files that both runs changed; of what was not sent whole only its size is known. */
const verdict = ({ a, b }: Pair<FileDiff>): string => (!a ? 'only in B' : !b ? 'only in A' : said(a) !== said(b) ? 'differs' : a.note ? 'as long' : 'the same')

function Changes({ a, b, views }: { a: string; b: string; views: readonly [View, View] }) {
  const { file } = compareRoute.useSearch()
  const navigate = useNavigate({ from: '/runs/compare' })
  const [one, other] = [useChanges(a, views[0]), useChanges(b, views[1])]
  const rows = useMemo(() => paired(one.data?.files ?? [], other.data?.files ?? [], (each) => each.path), [one.data, other.data])
  const columns = useMemo<readonly Column<Pair<FileDiff>>[]>(
    () => [
      {
        id: 'file',
        title: 'File',
        width: 'minmax(10rem, 2fr)',
        cell: (row) => (
          <button type="button" aria-pressed={row.key === file} onClick={() => void navigate({ search: (was) => ({ ...was, file: row.key }), replace: true, resetScroll: false })} className="max-w-full truncate text-accent underline">
            <bdi>{harmless(row.key).slice(0, 300)}</bdi>
          </button>
        ),
      },
      { id: 'a', title: 'A', width: 'minmax(8rem, 1fr)', cell: (row) => counted(row.a) },
      { id: 'b', title: 'B', width: 'minmax(8rem, 1fr)', cell: (row) => counted(row.b) },
      { id: 'is', title: 'Both', width: '7rem', cell: verdict },
    ],
    [file, navigate],
  )
  if (one.isPending || other.isPending) return <Waiting />
  if (one.isError || other.isError) return <ProblemNote error={one.error ?? other.error} />
  const shown = rows.find((row) => row.key === file)
  const whole = Math.max(one.data.total, other.data.total)
  return (
    <Section title="What they changed">
      {rows.length === 0 ? (
        <EmptyState title="Neither changed a file." command={`builderos run show ${b} --diff`} />
      ) : (
        <Table label="Files of both" rows={rows} columns={columns} keyOf={(row) => row.key} rowHeight={36} className="max-h-[45vh]" />
      )}
      {whole > MOST && <p className="text-muted">The first {MOST} of {whole.toLocaleString('en')} files are compared here.</p>}
      {shown && (
        <div className="grid min-w-0 gap-3 xl:grid-cols-2">
          {([['A', shown.a], ['B', shown.b]] as const).map(([word, of]) => (
            <div key={word} className="min-w-0">
              {of ? <DiffReview label={`Difference of ${word}`} files={[of]} className="h-[45vh]" /> : <p className="text-muted">{word} did not change it.</p>}
            </div>
          ))}
        </div>
      )}
    </Section>
  )
}

const useArtifacts = (id: string) =>
  useInfiniteQuery({
    queryKey: ['run', id, 'artifacts'],
    queryFn: ({ signal, pageParam }) => data(api.GET('/v1/artifacts', { params: { query: { run_id: id, limit: 200, ...(pageParam ? { cursor: pageParam } : {}) } }, signal })),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
  })

const short = (one: Artifact | undefined): string => one?.hash.replace(/^sha256:/, '').slice(0, 10) ?? ''

const OUTPUTS: readonly Column<Pair<Artifact>>[] = [
  { id: 'name', title: 'Kept', width: 'minmax(10rem, 2fr)', cell: (row) => <bdi>{harmless(row.key).slice(0, 300)}</bdi> },
  { id: 'a', title: 'A', width: 'minmax(8rem, 1fr)', cell: (row) => <code className="font-mono text-sm">{short(row.a)}</code> },
  { id: 'b', title: 'B', width: 'minmax(8rem, 1fr)', cell: (row) => <code className="font-mono text-sm">{short(row.b)}</code> },
  { id: 'is', title: 'Both', width: '7rem', cell: (row) => (!row.a ? 'only in B' : !row.b ? 'only in A' : row.a.hash === row.b.hash ? 'the same' : 'differs') },
]

function Outputs({ a, b }: { a: string; b: string }) {
  const [one, other] = [useArtifacts(a), useArtifacts(b)]
  const rows = useMemo(() => {
    const all = (of: typeof one.data) => of?.pages.flatMap((page) => page.items) ?? []
    return paired(all(one.data), all(other.data), (each) => each.path)
  }, [one.data, other.data])
  if (one.isPending || other.isPending) return <Waiting />
  if (one.isError || other.isError) return <ProblemNote error={one.error ?? other.error} />
  return (
    <Section title="What they kept">
      {rows.length === 0 ? (
        <EmptyState title="Neither kept a file." command={`builderos artifacts list --run ${b}`} />
      ) : (
        <Table label="Kept by both" rows={rows} columns={OUTPUTS} keyOf={(row) => row.key} rowHeight={36} className="max-h-[45vh]" more={one.hasNextPage || other.hasNextPage} onEnd={() => void [one, other].forEach((each) => each.hasNextPage && !each.isFetchingNextPage && void each.fetchNextPage())} />
      )}
    </Section>
  )
}
