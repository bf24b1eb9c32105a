import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { Button, buttonClass, IconButton } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Select, TextField } from '../ui/Field'
import { STATUSES, type RunsSearch, type RunStatus } from './route'
import { alike, drop, keep, useSaved } from './saved'

const VIEWS: readonly (readonly [string, RunsSearch])[] = [['All', {}], ['Not over', { open: true }], ['Wait for approval', { status: 'waiting_approval' }], ['Failed', { status: 'failed' }]]

type Put = (change: RunsSearch) => void

/** Filters that people want often, and those that somebody kept; each is an address. */
export function Views({ search }: { search: RunsSearch }) {
  const saved = useSaved()
  const all = [...VIEWS.map(([name, view]) => ({ name, search: view, own: false })), ...saved.map((one) => ({ ...one, own: true }))]
  return (
    <div role="group" aria-label="Views" className="flex min-w-0 flex-wrap gap-1">
      {all.map((one) => (
        <span key={`${one.own} ${one.name}`} className="inline-flex max-w-full items-center">
          <Link to="/runs" search={one.search} replace activeProps={{}} aria-current={alike(search, one.search) ? 'true' : undefined} className={`${buttonClass(alike(search, one.search) ? 'main' : 'plain', true)} min-w-0`}>
            <bdi className="max-w-64 truncate">{one.name}</bdi>
          </Link>
          {one.own && <IconButton icon="close" label={`Forget ${one.name}`} className="size-7!" onClick={() => drop(one.name)} />}
        </span>
      ))}
      {!all.some((one) => alike(search, one.search)) && <Keep search={search} />}
    </div>
  )
}

/** Keeps what is shown under a name. */
function Keep({ search }: { search: RunsSearch }) {
  const [name, setName] = useState<string | null>(null)
  const done = () => {
    if (name?.trim()) keep({ name: name.trim(), search })
    setName(null)
  }
  return (
    <>
      <Button small look="quiet" onClick={() => setName('')}>
        Keep this filter
      </Button>
      <Dialog
        open={name !== null}
        onClose={() => setName(null)}
        title="Keep this filter"
        actions={
          <Button look="main" disabled={!name?.trim()} onClick={done}>
            Keep it
          </Button>
        }
      >
        <form
          onSubmit={(event) => {
            event.preventDefault()
            done()
          }}
        >
          <TextField label="Name" value={name ?? ''} onChange={setName} maxLength={60} hint="It stands beside the other views in this browser. To give it to somebody else, send the address of the page." />
        </form>
      </Dialog>
    </>
  )
}

/** What the list shows: by status, pipeline and branch. */
export function Filters({ search, put, counts }: { search: RunsSearch; put: Put; counts: Record<string, number> | null }) {
  const [pipeline, setPipeline] = useState(search.pipeline ?? '')
  const [branch, setBranch] = useState(search.branch ?? '')
  return (
    <form
      aria-label="Filters"
      className="flex flex-wrap items-end gap-3"
      onSubmit={(event) => {
        event.preventDefault()
        put({ pipeline: pipeline.trim(), branch: branch.trim() })
      }}
    >
      <Select label="Status" value={search.status ?? ''} onChange={(value) => put({ status: (value || undefined) as RunStatus | undefined })} options={[['', 'Any'], ...STATUSES.map((one) => [one, `${one.replaceAll('_', ' ')}${counts ? ` (${(counts[one] ?? 0).toLocaleString('en')})` : ''}`] as const)]} />
      <TextField label="Pipeline" value={pipeline} onChange={setPipeline} />
      <TextField label="Branch" value={branch} onChange={setBranch} />
      <Button type="submit">Show</Button>
    </form>
  )
}
