import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { credentials } from '../api/session'
import { Lineage } from '../lineage/Lineage'
import { Readers } from '../lineage/Readers'
import { Look } from '../experiments/Files'
import { bytes, save } from '../runs/ArtifactsTab'
import { Who } from '../shell/Who'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Code, Facts, json } from '../ui/Facts'
import { Select } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Table } from '../ui/Table'
import { Tabs } from '../ui/Tabs'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { datasetRoute, DATASET_TABS, type DatasetSearch } from './route'

export const Route = createLazyRoute('/datasets/$id')({ component: Dataset })

const TAB_WORDS = { files: 'Files', columns: 'Columns', lineage: 'Lineage', readers: 'Who read it' } as const

function Dataset() {
  const { id } = datasetRoute.useParams()
  const found = useQuery({ queryKey: ['datasets', id], queryFn: ({ signal }) => data(api.GET('/v1/datasets/{id}', { params: { path: { id } }, signal })) })
  if (found.isPending) return <Page title="Dataset"><Waiting /></Page>
  if (found.isError) return <Page title="Dataset"><ProblemNote error={found.error} again={() => void found.refetch()} /></Page>
  return <Shown one={found.data} />
}

function Shown({ one }: { one: Schemas['Dataset'] }) {
  const search = datasetRoute.useSearch()
  const go = useNavigate()
  const audits = useMay()('audit.read')
  const put = (change: DatasetSearch) => void go({ to: '/datasets/$id', params: { id: one.id }, search: { ...search, ...change }, replace: true })
  const there = DATASET_TABS.filter((each) => (each !== 'readers' || audits) && (each !== 'columns' || one.columns !== null))
  const tab = there.find((each) => each === search.tab) ?? 'files'
  return (
    <Page
      title={harmless(one.ref)}
      below={<Link to="/datasets" className="text-accent underline">All datasets</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos dataset show ${one.ref}`, method: 'GET', path: `/v1/datasets/${one.id}`, mcp: { name: 'showDataset', arguments: { id: one.ref } } }} />
          <Versions one={one} />
        </>
      }
    >
      <div className="grid gap-5 lg:grid-cols-2">
        <Facts
          label="The version"
          of={[
            ['Kind', one.kind], ['Size', `${bytes(one.size)} in ${one.files.length.toLocaleString('en')} ${one.files.length === 1 ? 'file' : 'files'}`], ['Rows', one.rows === null ? '' : one.rows.toLocaleString('en')],
            ['Hash', <code key="hash" className="break-all">{one.digest}</code>], ['About', one.description], ['Registered', <Time key="made" at={one.created_at} />], ['By', <Who key="by" id={one.created_by} />],
          ]}
        />
        <Section title="Whence"><Code label="Whence, as the server keeps it" text={json(one.source)} className="max-h-48" /></Section>
      </div>
      <Tabs label="Of this version" tabs={there.map((each) => ({ id: each, label: TAB_WORDS[each], ...(each === 'files' ? { count: one.files.length } : each === 'columns' ? { count: one.columns?.length ?? 0 } : {}) }))} value={tab} onChange={(next) => put({ tab: DATASET_TABS.find((each) => each === next && each !== 'files') })}>
        {tab === 'files' && <Files one={one} file={search.file} onFile={(file) => put({ file })} />}
        {tab === 'columns' && (
          <Table
            label="Columns"
            rows={(one.columns ?? []).map((column, n) => ({ ...column, key: `${n}` }))}
            keyOf={(column) => column.key}
            className="max-h-[60vh]"
            columns={[{ id: 'name', title: 'Column', width: 'minmax(12rem, 2fr)', cell: (column) => <bdi>{harmless(column.name)}</bdi> }, { id: 'type', title: 'Type', width: '8rem', cell: (column) => column.type }]}
          />
        )}
        {tab === 'lineage' && <Lineage id={one.id} />}
        {tab === 'readers' && <Readers id={one.id} />}
      </Tabs>
    </Page>
  )
}

/** Other versions of the same dataset, to go to. */
function Versions({ one }: { one: Schemas['Dataset'] }) {
  const go = useNavigate()
  const list = useInfiniteQuery({
    queryKey: ['datasets', one.name, 'versions', 'pages'],
    queryFn: ({ pageParam, signal }) => data(api.GET('/v1/datasets', { params: { query: { name: one.name, limit: 200, cursor: pageParam || null } }, signal })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  })
  const rows = list.data?.pages.flatMap((page) => page.items) ?? []
  const known = rows.some((row) => row.id === one.id) ? rows : [one, ...rows]
  return <Select label="Version" value={one.id} onChange={(id) => void go({ to: '/datasets/$id', params: { id } })} options={known.map((row) => [row.id, String(row.version)] as const)} />
}

function Files({ one, file, onFile }: { one: Schemas['Dataset']; file: string | undefined; onFile: (file: string) => void }) {
  const chosen = one.files.find((each) => each.path === file)
  const get = async (path: string) => {
    const reply = await fetch(`/v1/datasets/${one.id}/content?${new URLSearchParams({ path }).toString()}`, { headers: credentials('GET') })
    if (!reply.ok) return toast('It could not be read.', { tone: 'bad' })
    save(await reply.blob(), path.split('/').at(-1) || 'data')
  }
  return (
    <div className="grid gap-3 lg:grid-cols-[minmax(20rem,1fr)_2fr]">
      <Table
        label="Files of the version"
        rows={one.files}
        keyOf={(each) => each.path}
        className="max-h-[50vh]"
        columns={[
          { id: 'path', title: 'File', width: 'minmax(10rem, 2fr)', cell: (each) => <button type="button" aria-pressed={each.path === file} onClick={() => onFile(each.path)} className="max-w-full truncate text-accent underline"><bdi>{harmless(each.path)}</bdi></button> },
          { id: 'size', title: 'Size', width: '6rem', align: 'right', cell: (each) => bytes(each.size) },
          { id: 'get', title: 'Get', width: '8rem', cell: (each) => <Button small icon="download" aria-label={`Download ${harmless(each.path)}`} onClick={() => void get(each.path)}>Download</Button> },
        ]}
      />
      {chosen ? <Look key={chosen.artifact_id} id={chosen.artifact_id} /> : <p className="text-muted">Choose a file to look at it. Who reads it is recorded.</p>}
    </div>
  )
}
