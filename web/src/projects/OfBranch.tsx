import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Who } from '../shell/Who'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { Dialog } from '../ui/Dialog'
import { DiffReview } from '../ui/DiffReview'
import { filesOf } from '../ui/diffs'
import { TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { Note, ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'

/** A branch of a repository; `id` is known where the caller may see it. */
export interface OfBranch {
  repo: string
  branch: string
  id: string | undefined
}

type Commit = Schemas['CommitLine']
const first = (message: string): string => shownLine(message.split('\n', 1)[0] ?? '', 200)

/** What was done on a branch, newest first; each of it can be looked at, and undone by who may. */
export function Commits({ repo, branch, id }: OfBranch) {
  const may = useMay(id)
  const [looked, setLooked] = useState<Commit | null>(null)
  const [undoing, setUndoing] = useState<Commit | null>(null)
  const where = { repo_name: repo, branch }
  return (
    <>
      <Listing
        label={`Commits of ${branch}`}
        queryKey={['commits', where, 'list']}
        read={(cursor, signal) => data(api.POST('/git/log', { body: { ...where, limit: 100, cursor }, signal }))}
        keyOf={(one) => one.sha}
        empty="Nothing was done here yet."
        command={`builderos log --repo ${repo} --branch ${branch}`}
        onOpen={setLooked}
        columns={[
          {
            id: 'message',
            title: 'What',
            width: 'minmax(16rem, 3fr)',
            cell: (one) => (
              <button type="button" className="max-w-full truncate text-left text-accent underline" onClick={() => setLooked(one)}>
                {first(one.message)}
              </button>
            ),
          },
          { id: 'by', title: 'By', width: '12rem', cell: (one) => shownLine(one.agent_version ?? one.committed_by, 80) },
          { id: 'sha', title: 'Commit', width: '8rem', cell: (one) => <code className="font-mono">{one.sha.slice(0, 10)}</code> },
          { id: 'at', title: 'When', width: '9rem', cell: (one) => <Time at={one.at} /> },
          {
            id: 'undo',
            title: 'Undo',
            width: '7rem',
            cell: (one) =>
              may('git.rollback') &&
              one.parents.length > 0 && (
                <Button small icon="undo" onClick={() => setUndoing(one)}>
                  Undo
                </Button>
              ),
          },
        ]}
      />
      {looked && <Look where={where} commit={looked} onClose={() => setLooked(null)} />}
      {undoing && <Undo where={where} commit={undoing} onClose={() => setUndoing(null)} />}
    </>
  )
}

interface OfCommit {
  where: { repo_name: string; branch: string }
  commit: Commit
  onClose: () => void
}

function Look({ where, commit, onClose }: OfCommit) {
  const from = commit.parents[0]
  const diff = useQuery({
    queryKey: ['commits', where, 'diff', commit.sha],
    queryFn: ({ signal }) => data(api.POST('/git/diff', { body: { ...where, ...(from === undefined ? {} : { from }), to: commit.sha }, signal })),
    enabled: from !== undefined,
    staleTime: Number.POSITIVE_INFINITY, // what a commit changed never changes
  })
  return (
    <Dialog open wide onClose={onClose} title={first(commit.message)}>
      {from === undefined ? <Note>It is the first one: everything began with it.</Note> : diff.isPending ? <Waiting /> : diff.isError ? <ProblemNote error={diff.error} again={() => void diff.refetch()} /> : <DiffReview label="What changed" files={filesOf(diff.data.diff)} />}
    </Dialog>
  )
}

function Undo({ where, commit, onClose }: OfCommit) {
  const cache = useQueryClient()
  const [reason, setReason] = useState('')
  const run = async () => {
    await data(api.POST('/git/rollback_commit', { body: { ...where, commit_sha: commit.sha, reason: reason.trim() || 'It was not wanted.' } }))
    toast('Undone by a new commit; nothing is lost.')
    await cache.invalidateQueries({ queryKey: ['commits'] })
  }
  return (
    <Confirm open onClose={onClose} title="Undo this?" act="Undo it" run={run}>
      <p>A new commit takes back “{first(commit.message)}”. Everything else stays as it is.</p>
      <TextField label="Why?" placeholder="It was not wanted." value={reason} onChange={setReason} autoComplete="off" maxLength={500} />
    </Confirm>
  )
}

/** What is to be done on a branch. */
export function Tasks({ repo, branch }: OfBranch) {
  const where = { repo_name: repo, branch }
  return (
    <Listing
      label={`Tasks of ${branch}`}
      queryKey={['commits', where, 'tasks', 'list']}
      read={(cursor, signal) => data(api.POST('/tasks/query', { body: { ...where, mode: 'list', limit: 100, cursor }, signal }))}
      keyOf={(one) => one.id}
      empty="There are no tasks on this branch."
      command={`builderos task create 1_first 'The first thing to do' --branch ${branch}`}
      columns={[
        { id: 'title', title: 'What', width: 'minmax(16rem, 3fr)', cell: (one) => shownLine(one.title, 200) },
        { id: 'status', title: 'State', width: '9rem', cell: (one) => <Status of={one.status} /> },
        { id: 'pod', title: 'Of', width: '9rem', cell: (one) => harmless(one.assigned_pod ?? '') },
        { id: 'after', title: 'Waits for', width: 'minmax(8rem, 1fr)', cell: (one) => shownLine(one.waiting_for.join(', '), 200) },
      ]}
    />
  )
}

/** Backups of a branch; one brings it back as a new commit. */
export function Backups({ repo, branch, id }: OfBranch) {
  const may = useMay(id)
  const cache = useQueryClient()
  const where = { repo_name: repo, branch }
  const [restoring, setRestoring] = useState<Schemas['BackupLine'] | null>(null)
  const make = useMutation({
    mutationFn: () => data(api.POST('/system/backup', { body: { ...where, scope: 'branch' } })),
    onSuccess: (made) => {
      toast(made.message)
      return cache.invalidateQueries({ queryKey: ['commits', where, 'backups'] })
    },
  })
  const restore = async () => {
    const done = await data(api.POST('/system/backup/{id}/restore', { params: { path: { id: restoring?.backup_id ?? '' } }, body: where }))
    toast(done.message)
    await cache.invalidateQueries({ queryKey: ['commits'] })
  }
  return (
    <>
      {may('backup.create') && (
        <div>
          <Button icon="plus" busy={make.isPending} onClick={() => make.mutate()}>
            Back it up now
          </Button>
        </div>
      )}
      {make.isError && <ProblemNote error={make.error} />}
      <Listing
        label={`Backups of ${branch}`}
        queryKey={['commits', where, 'backups']}
        read={(cursor, signal) => data(api.POST('/system/backup/list', { body: { ...where, limit: 100, cursor }, signal }))}
        keyOf={(one) => one.backup_id}
        empty="This branch was not backed up yet."
        command={`builderos backup create --branch ${branch}`}
        columns={[
          { id: 'at', title: 'When', width: '10rem', cell: (one) => <Time at={one.created_at} /> },
          { id: 'kind', title: 'Kind', width: '9rem', cell: (one) => one.kind.replaceAll('_', ' ') },
          { id: 'scope', title: 'Of', width: '9rem', cell: (one) => one.scope.replaceAll('_', ' ') },
          { id: 'sha', title: 'Commit', width: '8rem', cell: (one) => <code className="font-mono">{one.commit_sha.slice(0, 10)}</code> },
          { id: 'hash', title: 'SHA-256', width: 'minmax(10rem, 1fr)', cell: (one) => <code className="font-mono text-sm">{one.sha256.slice(0, 16)}…</code> },
          {
            id: 'restore',
            title: 'Bring back',
            width: '9rem',
            cell: (one) =>
              may('backup.restore') && (
                <Button small onClick={() => setRestoring(one)}>
                  Bring it back
                </Button>
              ),
          },
        ]}
      />
      <Confirm open={restoring !== null} onClose={() => setRestoring(null)} title="Bring this back?" act="Bring it back" run={restore}>
        <p>The branch gets a new commit that looks as it did then. What was done since stays in its history.</p>
      </Confirm>
    </>
  )
}

/** What is remembered for everybody and every agent on a branch. */
export function Facts({ repo, branch }: OfBranch) {
  const where = { repo_name: repo, branch }
  return (
    <Listing
      label={`Memory of ${branch}`}
      queryKey={['memory', where]}
      read={(cursor, signal) => data(api.GET('/v1/memory/items', { params: { query: { ...where, limit: 100, cursor } }, signal }))}
      keyOf={(one) => one.id}
      empty="Nothing is remembered here yet."
      command={`builderos memory remember --branch ${branch} "…"`}
      columns={[
        { id: 'body', title: 'What', width: 'minmax(18rem, 3fr)', cell: (one) => shownLine(one.body.replace(/\s+/g, ' '), 300) },
        { id: 'tier', title: 'Kind', width: '8rem', cell: (one) => one.tier.replaceAll('_', ' ') },
        { id: 'agent', title: 'Of', width: '9rem', cell: (one) => harmless(one.agent ?? 'everybody') },
        { id: 'by', title: 'By', width: '10rem', cell: (one) => <Who id={one.created_by} /> },
        { id: 'at', title: 'Changed', width: '9rem', cell: (one) => <Time at={one.changed_at} /> },
      ]}
    />
  )
}
