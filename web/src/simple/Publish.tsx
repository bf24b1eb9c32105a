import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { DiffReview } from '../ui/DiffReview'
import { filesOf } from '../ui/diffs'
import { EmptyState } from '../ui/EmptyState'
import { TextField } from '../ui/Field'
import { Icon } from '../ui/Icon'
import { Note, ProblemNote } from '../ui/Note'
import { Panel, Section } from '../ui/Page'
import { shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { useWhere, type Past } from './where'

const CHECKS: Record<string, string> = {
  merges_cleanly: 'It fits to what others did meanwhile',
  delivery_files_valid: 'Tasks, notes and changelog are in order',
  paths_and_sizes: 'Names and sizes of files are allowed',
  no_credentials: 'No passwords or keys are in it',
}

/** Bringing the work to everybody: what it changes, what was asked for before, and one button. */
export function Publish({ past }: { past: Past }) {
  const where = useWhere()
  const pulls = useQuery({
    queryKey: ['pulls', where, past.branch],
    queryFn: ({ signal }) => data(api.GET('/v1/pulls', { params: { query: { repo_name: past.repo, branch: past.branch } }, signal })),
  })
  return (
    <div className="flex flex-col gap-5">
      {pulls.isPending ? (
        <Waiting />
      ) : pulls.isError ? (
        <ProblemNote error={pulls.error} again={() => void pulls.refetch()} />
      ) : (
        pulls.data.items.map((pull) => <Asked key={pull.id} pull={pull} stands={past.stands} />)
      )}
      {past.files.length === 0 ? (
        <EmptyState title="There is nothing to publish: save a change first." command="builderos commit README.md --message 'First words'" />
      ) : (
        <>
          <Ask past={past} again={(pulls.data?.items ?? []).some((pull) => pull.state === 'open')} />
          <Section title="What it brings">
            <Difference stands={past.stands} />
          </Section>
        </>
      )}
    </div>
  )
}

function Asked({ pull, stands }: { pull: Schemas['Pull']; stands: string }) {
  return (
    <Panel className="flex flex-col gap-2 p-4">
      <p className="flex flex-wrap items-center gap-3">
        <span className="font-medium">{shownLine(pull.title, 200)}</span>
        <Status of={pull.state === 'open' ? 'waiting_approval' : pull.state} />
        <Time at={pull.merged_at ?? pull.created_at} className="text-sm text-muted" />
      </p>
      {pull.state === 'open' && <p>Somebody of the project has to say yes. You can go on working meanwhile.</p>}
      {pull.state === 'open' && pull.head_sha !== stands && <Note tone="warn">You have changed something since. Publish again to bring it along.</Note>}
      <ul className="text-sm">
        {pull.checks.map((check) => (
          <li key={check.name} className="flex items-center gap-2">
            <Icon name={check.ok ? 'approvals' : 'cross'} className={check.ok ? 'text-good' : 'text-bad'} />
            {CHECKS[check.name] ?? check.name.replaceAll('_', ' ')}
            {!check.ok && `: ${shownLine(check.detail, 300)}`}
          </li>
        ))}
      </ul>
    </Panel>
  )
}

function Ask({ past, again }: { past: Past; again: boolean }) {
  const where = useWhere()
  const cache = useQueryClient()
  const [title, setTitle] = useState('')
  const publish = useMutation({
    mutationFn: () => data(api.POST('/git/promote', { body: { ...where, title: title.trim(), mode: 'pr', target: 'main', resolutions: [] } })),
    onSuccess: async (told) => {
      toast(told.state === 'merged' ? 'Published.' : 'Asked for. You are told here when somebody has answered.')
      await cache.invalidateQueries({ queryKey: ['pulls'] })
    },
  })
  return (
    <form
      aria-label="Publish"
      className="flex flex-wrap items-end gap-2"
      onSubmit={(event) => {
        event.preventDefault()
        publish.mutate()
      }}
    >
      <div className="min-w-60 grow">
        <TextField label="What does it bring?" hint={`In one sentence; whoever of ${past.repo} decides reads it first.`} value={title} onChange={setTitle} required autoComplete="off" maxLength={200} />
      </div>
      <Button type="submit" look="main" busy={publish.isPending} className="mb-6">
        {again ? 'Publish again' : 'Publish'}
      </Button>
      {publish.isError && (
        <div className="w-full">
          <ProblemNote error={publish.error} />
        </div>
      )}
    </form>
  )
}

function Difference({ stands }: { stands: string }) {
  const where = useWhere()
  const diff = useQuery({
    queryKey: ['commits', where, 'publish', stands],
    queryFn: ({ signal }) => data(api.POST('/git/diff', { body: where, signal })),
  })
  if (diff.isPending) return <Waiting />
  if (diff.isError) return <ProblemNote error={diff.error} again={() => void diff.refetch()} />
  return (
    <>
      <DiffReview label="What it brings" files={filesOf(diff.data.diff)} />
      {diff.data.truncated && <Note>Only the beginning is shown; all {diff.data.files.length} files are published.</Note>}
    </>
  )
}
