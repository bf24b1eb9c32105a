import { useQuery } from '@tanstack/react-query'
import { getRouteApi } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { EmptyState } from '../ui/EmptyState'
import { TextField } from '../ui/Field'
import { Icon } from '../ui/Icon'
import { Note, ProblemNote } from '../ui/Note'
import { Panel } from '../ui/Page'
import { shownLine } from '../ui/plain'
import { Waiting } from '../ui/Waiting'
import { Editor } from './Editor'
import { Project } from './Project'
import { at } from './route'
import { type Past, useWhere } from './where'

const route = getRouteApi('/workspace')
const SHOWN = 1000

/** Folders and files of the workspace; one file at a time is open. */
export function Files({ past }: { past: Past }) {
  const { folder = '', file } = route.useSearch()
  if (file !== undefined) return <Editor key={file} path={file} stands={past.stands} />
  return (
    <div className="flex flex-col gap-4">
      {past.changes.length === 0 && <Project />}
      <Folder folder={folder} stands={past.stands} />
    </div>
  )
}

function Folder({ folder, stands }: { folder: string; stands: string }) {
  const where = useWhere()
  const entries = useQuery({
    queryKey: ['commits', where, 'folder', folder, stands],
    queryFn: ({ signal }) => data(api.GET('/v1/files', { params: { query: { ...where, folder, limit: SHOWN } }, signal })),
  })
  return (
    <div className="flex flex-col gap-2">
      <div className="flex flex-wrap items-center justify-between gap-2">
        <Path folder={folder} />
        <NewFile folder={folder} />
      </div>
      {entries.isPending ? (
        <Waiting />
      ) : entries.isError ? (
        <ProblemNote error={entries.error} again={() => void entries.refetch()} />
      ) : entries.data.items.length === 0 ? (
        <EmptyState title="There are no files yet." command="builderos commit README.md --message 'First words'" />
      ) : (
        <Entries entries={entries.data.items} total={entries.data.total} />
      )}
    </div>
  )
}

function Entries({ entries, total }: { entries: readonly Schemas['FileEntry'][]; total: number }) {
  const go = route.useNavigate()
  const open = (entry: Schemas['FileEntry']) =>
    void go({ search: (now) => at(now, entry.kind === 'folder' ? { folder: entry.path } : { file: entry.path }) })
  const order = (entry: Schemas['FileEntry']) => (entry.kind === 'folder' ? 0 : 1)
  const sorted = [...entries].sort((one, other) => order(one) - order(other))
  return (
    <Panel className="max-h-[65vh] overflow-y-auto">
      <ul aria-label="Files" className="divide-y divide-line">
        {sorted.map((entry) => (
          <li key={entry.name}>
            {entry.kind === 'folder' || entry.kind === 'file' ? (
              <button type="button" onClick={() => open(entry)} className="flex w-full items-center gap-2.5 px-3 py-1.5 text-left hover:bg-raised">
                <Icon name={entry.kind === 'folder' ? 'projects' : 'file'} className="text-muted" />
                {shownLine(entry.name, 200)}
              </button>
            ) : (
              <span className="flex items-center gap-2.5 px-3 py-1.5 text-muted">
                <Icon name="external" />
                {shownLine(entry.name, 200)} (a {entry.kind})
              </span>
            )}
          </li>
        ))}
      </ul>
      {total > entries.length && (
        <p className="px-3 py-2 text-sm text-muted">
          The first {entries.length.toLocaleString('en')} of {total.toLocaleString('en')}.
        </p>
      )}
    </Panel>
  )
}

/** Where in the folders one is, each step a way back. */
export function Path({ folder, file }: { folder: string; file?: string }) {
  const go = route.useNavigate()
  const steps = folder ? folder.split('/') : []
  const to = (path: string) => void go({ search: (now) => at(now, path ? { folder: path } : {}) })
  return (
    <nav aria-label="Folder" className="flex min-w-0 flex-wrap items-center gap-1">
      <Button look="quiet" small onClick={() => to('')}>
        All files
      </Button>
      {steps.map((step, deep) => (
        <span key={steps.slice(0, deep + 1).join('/')} className="flex items-center gap-1">
          <Icon name="right" className="text-muted" />
          <Button look="quiet" small onClick={() => to(steps.slice(0, deep + 1).join('/'))}>
            {shownLine(step, 80)}
          </Button>
        </span>
      ))}
      {file !== undefined && (
        <span className="flex items-center gap-2 font-medium">
          <Icon name="right" className="text-muted" />
          {shownLine(file, 120)}
        </span>
      )}
    </nav>
  )
}

function NewFile({ folder }: { folder: string }) {
  const [open, setOpen] = useState(false)
  const [name, setName] = useState('')
  const go = route.useNavigate()
  const path = [folder, name.trim()].filter(Boolean).join('/')
  return (
    <>
      <Button icon="plus" onClick={() => setOpen(true)}>
        New file
      </Button>
      <Dialog open={open} onClose={() => setOpen(false)} title="A new file">
        <form
          className="flex flex-col gap-3"
          onSubmit={(event) => {
            event.preventDefault()
            setOpen(false)
            void go({ search: (now) => at(now, { file: path }) })
          }}
        >
          <TextField label="Name" hint="For example notes.md, or plans/next.md." value={name} onChange={setName} required autoComplete="off" spellCheck={false} />
          {folder && <Note>It will lie in {shownLine(folder, 200)}.</Note>}
          <div>
            <Button type="submit" look="main">
              Write it
            </Button>
          </div>
        </form>
      </Dialog>
    </>
  )
}
