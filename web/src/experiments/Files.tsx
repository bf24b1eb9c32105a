import { useQuery } from '@tanstack/react-query'
import { api, data, type Schemas } from '../api/client'
import { bytes, Shown as Artifact } from '../runs/ArtifactsTab'
import { Button } from '../ui/Button'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Table } from '../ui/Table'
import { Waiting } from '../ui/Waiting'
import type { Shown } from './ExperimentRun'

type File = Schemas['ExperimentFile']

/** What a run kept, folder by folder. `file`: the one that is looked at; a folder ends with a slash. */
export function Files({ run, file, onFile }: { run: Shown; file: string | undefined; onFile: (file: string | undefined) => void }) {
  const folder = (file ?? '').split('/').slice(0, -1).join('/')
  const found = useQuery({
    queryKey: ['experiments', 'run', run.id, 'files', folder],
    queryFn: ({ signal }) => data(api.GET('/v1/experiment-runs/{id}/files', { params: { path: { id: run.id }, query: { path: folder } }, signal })),
  })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  const items = found.data.items
  if (items.length === 0 && folder === '') return <EmptyState title="This run kept no file." command={`builderos experiment show ${run.id}`} />
  const chosen = items.find((one) => one.path === file && one.artifact_id !== null)
  const open = (one: File) => onFile(one.artifact_id === null ? `${one.path}/` : one.path)
  return (
    <div className="grid gap-3 lg:grid-cols-[minmax(18rem,1fr)_2fr]">
      <div className="flex min-w-0 flex-col gap-2">
        {folder !== '' && <div><Button small icon="back" onClick={() => onFile(folder.includes('/') ? `${folder.split('/').slice(0, -1).join('/')}/` : undefined)}>{`Up, out of ${shownLine(folder, 80)}`}</Button></div>}
        <Table
          label="Files of the run"
          rows={items}
          keyOf={(one) => one.path}
          onOpen={open}
          className="max-h-[50vh]"
          columns={[
            { id: 'name', title: 'File', width: 'minmax(10rem, 2fr)', cell: (one) => <button type="button" aria-pressed={one.path === file} onClick={() => open(one)} className="max-w-full truncate text-accent underline"><bdi>{harmless(one.path.split('/').at(-1) ?? '')}{one.artifact_id === null && '/'}</bdi></button> },
            { id: 'size', title: 'Size', width: '6rem', align: 'right', cell: (one) => (one.size === null ? '' : bytes(one.size)) },
          ]}
        />
      </div>
      {chosen?.artifact_id ? <Look key={chosen.artifact_id} id={chosen.artifact_id} /> : <p className="text-muted">Choose a file to look at it.</p>}
    </div>
  )
}

/** An artifact by its id. */
export function Look({ id }: { id: string }) {
  const found = useQuery({ queryKey: ['artifacts', id], queryFn: ({ signal }) => data(api.GET('/v1/artifacts/{id}', { params: { path: { id } }, signal })) })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  return <Artifact one={found.data} />
}
