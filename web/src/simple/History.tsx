import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { DiffReview } from '../ui/DiffReview'
import { filesOf } from '../ui/diffs'
import { EmptyState } from '../ui/EmptyState'
import { TextField } from '../ui/Field'
import { Icon } from '../ui/Icon'
import { ProblemNote } from '../ui/Note'
import { Panel } from '../ui/Page'
import { shownLine } from '../ui/plain'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { headline, reasonOf, undone, useWhere, type Change, type Past } from './where'

const PAGE = 50

/** What was done here, newest first, each of it with a way back. */
export function History({ past }: { past: Past }) {
  const [shown, setShown] = useState(PAGE)
  const [looked, setLooked] = useState<Change | null>(null)
  const [undoing, setUndoing] = useState<Change | null>(null)
  const { changes } = past
  if (changes.length === 0) return <EmptyState title="Nothing was saved yet." command="builderos commit README.md --message 'First words'" />
  const undoneBy = new Map(changes.flatMap((one) => (undone(one) === null ? [] : [[undone(one) as string, one] as const])))
  const bySha = new Map(changes.map((one) => [one.sha, one]))
  return (
    <Panel>
      <ol aria-label="History" className="divide-y divide-line">
        {changes.slice(0, shown).map((change) => (
          <li key={change.sha} className="flex flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2.5">
            <div className="min-w-0 grow">
              <p className="font-medium">{shownLine(headline(change.message), 200)}</p>
              <Story change={change} by={undoneBy.get(change.sha)} of={bySha.get(undone(change) ?? '')} />
            </div>
            <Time at={change.at} className="text-sm text-muted" />
            <Button small onClick={() => setLooked(change)}>
              See what changed
            </Button>
            <Button small icon="undo" onClick={() => setUndoing(change)} disabled={undoneBy.has(change.sha)}>
              Undo
            </Button>
          </li>
        ))}
      </ol>
      {changes.length > shown && (
        <p className="p-3">
          <Button onClick={() => setShown(shown + PAGE)}>Show earlier ones</Button>
        </p>
      )}
      {past.more && changes.length <= shown && <p className="p-3 text-muted">Earlier changes are kept; they are too many to be shown here.</p>}
      {looked && <Look change={looked} onClose={() => setLooked(null)} />}
      {undoing && <Undo change={undoing} onClose={() => setUndoing(null)} />}
    </Panel>
  )
}

/** Who did it, and both ends of an undo. */
function Story({ change, by, of }: { change: Change; by: Change | undefined; of: Change | undefined }) {
  const who = change.agent_version ?? change.committed_by
  const why = reasonOf(change)
  return (
    <p className="text-sm text-muted">
      {shownLine(who, 80)}
      {by && (
        <>
          {' · '}
          <Icon name="undo" /> undone <Time at={by.at} />
          {reasonOf(by) && `: ${shownLine(reasonOf(by), 200)}`}
        </>
      )}
      {undone(change) && ` · takes back “${shownLine(of ? headline(of.message) : (undone(change) ?? '').slice(0, 10), 120)}”${why && `: ${shownLine(why, 200)}`}`}
    </p>
  )
}

function Look({ change, onClose }: { change: Change; onClose: () => void }) {
  const where = useWhere()
  const from = change.parents[0]
  const diff = useQuery({
    queryKey: ['commits', where, 'diff', change.sha],
    queryFn: ({ signal }) => data(api.POST('/git/diff', { body: { ...where, ...(from === undefined ? {} : { from }), to: change.sha }, signal })),
    staleTime: Number.POSITIVE_INFINITY, // what a commit changed never changes
  })
  return (
    <Dialog open wide onClose={onClose} title={shownLine(headline(change.message), 120)}>
      {diff.isPending ? (
        <Waiting />
      ) : diff.isError ? (
        <ProblemNote error={diff.error} again={() => void diff.refetch()} />
      ) : (
        <DiffReview label="What changed" files={filesOf(diff.data.diff)} />
      )}
    </Dialog>
  )
}

function Undo({ change, onClose }: { change: Change; onClose: () => void }) {
  const where = useWhere()
  const cache = useQueryClient()
  const [reason, setReason] = useState('')
  const undo = useMutation({
    mutationFn: () => data(api.POST('/git/rollback_commit', { body: { ...where, commit_sha: change.sha, reason: reason.trim() || 'It was not wanted.' } })),
    onSuccess: async () => {
      toast('Undone. You can undo that, too.')
      onClose()
      await cache.invalidateQueries({ queryKey: ['commits'] })
    },
  })
  return (
    <Dialog
      open
      onClose={onClose}
      title="Undo this?"
      actions={
        <>
          <Button onClick={onClose}>Leave it</Button>
          <Button look="main" icon="undo" busy={undo.isPending} onClick={() => undo.mutate()}>
            Undo it
          </Button>
        </>
      }
    >
      <p>“{shownLine(headline(change.message), 200)}” is taken back. Everything else stays as it is, and nothing is lost.</p>
      <TextField label="Why?" placeholder="It was not wanted." value={reason} onChange={setReason} autoComplete="off" maxLength={500} />
      {undo.isError && <ProblemNote error={undo.error} />}
    </Dialog>
  )
}
