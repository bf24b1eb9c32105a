import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useMemo, useState, type FormEvent } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useCommands } from '../shell/commands'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { TextArea, TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { actWord, promotionOf } from './words'

export type Approval = Schemas['ApprovalShown']
type Verdict = 'approve' | 'deny'

export const approvalQuery = (id: string) => ({
  queryKey: ['approvals', id],
  queryFn: ({ signal }: { signal: AbortSignal }) => data(api.GET('/v1/approvals/{id}', { params: { path: { id } }, signal })),
})

interface Props {
  id: string
  /** Whether `a` and `d` decide while this is shown. */
  keys?: boolean
  onDecided?: (verdict: Verdict) => void
}

/** All that one has to know to say yes or no to one change, and the two buttons. The diff stands below, never behind them. */
export function Decision({ id, keys = true, onDecided }: Props) {
  const found = useQuery(approvalQuery(id))
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  return <Bar approval={found.data} keys={keys} onDecided={onDecided} />
}

function Bar({ approval, keys, onDecided }: { approval: Approval; keys: boolean; onDecided?: ((verdict: Verdict) => void) | undefined }) {
  const [asked, setAsked] = useState<Verdict | null>(null)
  const open = approval.state === 'pending'
  const may = open && approval.may_decide
  useCommands(
    useMemo(
      () =>
        may && keys
          ? [
              { id: 'approve', label: 'Approve this change', group: 'Decide', keys: 'a', run: () => setAsked('approve') },
              { id: 'deny', label: 'Deny this change', group: 'Decide', keys: 'd', run: () => setAsked('deny') },
            ]
          : [],
      [may, keys],
    ),
  )
  return (
    <section aria-label="Decision" className="flex flex-col gap-3 rounded-lg border border-line bg-panel p-4 lg:sticky lg:top-14 lg:z-2 lg:shadow-sm">
      <div className="flex flex-wrap items-start justify-between gap-3">
        <div className="min-w-0">
          <p className="text-lg font-medium whitespace-pre-wrap">{harmless(approval.reason) || 'No reason was given.'}</p>
          <p className="flex flex-wrap gap-x-4 gap-y-1 text-sm text-muted">
            <span>
              {actWord(approval.action)}: {promotionOf(approval.object) ? <Link to="/promotions/$id" params={{ id: approval.object }} className="text-accent underline">{approval.object}</Link> : <code>{harmless(approval.object)}</code>}
            </span>
            <span>asked for by {calledOf(approval, approval.requested_by)}</span>
            {approval.prompt_version && <span>prompt {approval.prompt_version}</span>}
          </p>
        </div>
        <div className="flex flex-wrap items-center gap-3">
          <Status of={open ? approval.risk : approval.state} />
          <CopyAs call={callOf(approval)} />
        </div>
      </div>
      {(approval.risk_reasons ?? []).length > 0 && (
        <ul aria-label="Why this risk" className="list-disc pl-5 text-sm">
          {approval.risk_reasons?.map((why) => (
            <li key={why}>{harmless(why)}</li>
          ))}
        </ul>
      )}
      <p className="flex flex-wrap gap-x-4 gap-y-1 text-sm">
        <span>{whoMay(approval)}</span>
        {open && (
          <span>
            Expires <Time at={approval.expires_at} />
          </span>
        )}
        {approval.self_approved && <span className="text-warn">Approved by whoever asked for it</span>}
      </p>
      <Verdicts approval={approval} />
      {may && (
        <div className="flex flex-wrap gap-2">
          <Button look="main" icon="approvals" onClick={() => setAsked('approve')} aria-keyshortcuts={keys ? 'a' : undefined}>
            Approve
          </Button>
          <Button look="danger" icon="cross" onClick={() => setAsked('deny')} aria-keyshortcuts={keys ? 'd' : undefined}>
            Deny
          </Button>
        </div>
      )}
      {asked && (
        <Say
          approval={approval}
          verdict={asked}
          onClose={() => setAsked(null)}
          onDone={() => {
            setAsked(null)
            onDecided?.(asked)
          }}
        />
      )}
    </section>
  )
}

/** What was said so far. */
function Verdicts({ approval }: { approval: Approval }) {
  if (approval.decisions.length === 0) return null
  return (
    <ul aria-label="Verdicts" className="flex flex-col gap-1 text-sm">
      {approval.decisions.map((one) => (
        <li key={`${String(one.who)} ${String(one.when)}`} className="flex flex-wrap gap-x-3">
          <Status of={one.verdict === 'approve' ? 'approved' : 'denied'} />
          <span>{calledOf(approval, String(one.who ?? ''))}</span>
          {typeof one.when === 'string' && <Time at={one.when} className="text-muted" />}
          {typeof one.comment === 'string' && one.comment && <span className="whitespace-pre-wrap">{harmless(one.comment)}</span>}
        </li>
      ))}
    </ul>
  )
}

/** Who an id stands for, by name. */
const calledOf = ({ names }: Approval, id: string): string => harmless(names[id] ?? id)

function whoMay({ quorum, state, may_decide }: Approval): string {
  const roles = quorum.roles.join(', ')
  const need = quorum.needed > 1 ? `${quorum.given} of ${quorum.needed} yeses of ${roles}` : `One yes of ${roles}`
  if (state !== 'pending') return `${need}.`
  return may_decide ? `${need}; yours counts.` : `${need}; you may not decide about this.`
}

/** The name that has to be typed: of an environment that others use. */
const typedFor = (approval: Approval, verdict: Verdict): string => (verdict === 'approve' && /\.prod$|_prod$/.test(approval.action) ? 'prod' : '')

const callOf = ({ id }: Approval) => ({
  cli: `builderos approve ${id}`,
  method: 'POST' as const,
  path: `/v1/approvals/${id}`,
  body: { decision: 'approve' },
  mcp: { name: 'decideApproval', arguments: { id, decision: 'approve' } },
})

function Say({ approval, verdict, onClose, onDone }: { approval: Approval; verdict: Verdict; onClose: () => void; onDone: () => void }) {
  const [comment, setComment] = useState('')
  const [typed, setTyped] = useState('')
  const queries = useQueryClient()
  const name = typedFor(approval, verdict)
  const decide = useMutation({
    // The hash of what is shown: a change that came meanwhile is refused, never approved unseen.
    mutationFn: () => data(api.POST('/v1/approvals/{id}', { params: { path: { id: approval.id } }, body: { decision: verdict, comment, diff_hash: approval.diff_hash } })),
    onSuccess: (now) => {
      queries.setQueryData<Approval>(['approvals', approval.id], (old) => old && { ...old, state: now.state, decisions: now.decisions, self_approved: now.self_approved, may_decide: false })
      void queries.invalidateQueries({ queryKey: ['approvals'] })
      void queries.invalidateQueries({ queryKey: ['inbox'] })
      toast(now.state === 'pending' ? 'Your yes is kept; more are needed.' : verdict === 'approve' ? 'Approved.' : 'Denied. Nothing of it has happened.')
      onDone()
    },
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    if (typed === name) decide.mutate()
  }
  const form = `decide-${approval.id}`
  return (
    <Dialog
      open
      onClose={onClose}
      title={verdict === 'approve' ? 'Approve exactly this change?' : 'Deny this change?'}
      actions={
        <>
          <Button onClick={onClose}>Not now</Button>
          <Button type="submit" form={form} look={verdict === 'approve' ? 'main' : 'danger'} busy={decide.isPending} disabled={typed !== name}>
            {verdict === 'approve' ? 'Approve' : 'Deny'}
          </Button>
        </>
      }
    >
      <form id={form} onSubmit={send} className="flex flex-col gap-3">
        <p>{harmless(approval.reason)}</p>
        <TextArea
          label="Note"
          hint="Whoever asked reads it. Ctrl Enter sends."
          maxLength={5000}
          value={comment}
          onChange={setComment}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.currentTarget.form?.requestSubmit()
          }}
        />
        {name && <TextField label={`Type ${name} to approve`} autoComplete="off" value={typed} onChange={setTyped} />}
        {decide.isError && <ProblemNote error={decide.error} />}
      </form>
    </Dialog>
  )
}
