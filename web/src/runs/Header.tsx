import { useMutation, useQuery } from '@tanstack/react-query'
import { Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { cache } from '../api/query'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { TextField } from '../ui/Field'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { duration, Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { isOver, took, type Step, type View } from './data'

const word = (value: unknown): string => (typeof value === 'string' ? value : '')
const shaOf = (view: View): string => {
  const commits = view.provenance?.commits
  return Array.isArray(commits) && commits.length > 0 ? word(commits.at(-1)) : word(view.provenance?.base_sha)
}

/** Status, branch, commit, who, when, how long, what it cost. */
export function Facts({ id, view, steps }: { id: string; view: View; steps: readonly Step[] }) {
  const { run } = view
  const agents = steps.some((step) => step.agent_id !== null)
  const trigger = word(run.trigger.type)
  const of = word(run.trigger.run_id)
  const sha = shaOf(view)
  return (
    <div className="mt-1 flex flex-wrap items-center gap-x-4 gap-y-1 text-sm">
      <Status of={run.status} />
      {run.branch && (
        <span>
          {harmless(run.repo_name)} / <bdi>{harmless(run.branch)}</bdi>
        </span>
      )}
      {sha && <code className="font-mono">{sha.slice(0, 10)}</code>}
      {trigger && (
        <span>
          {trigger.replaceAll('_', ' ')}
          {of && (
            <>
              {' of '}
              <Link to="/runs/$id" params={{ id: of }} className="text-accent underline">
                {of.slice(0, 14)}…
              </Link>{' '}
              (
              <Link to="/runs/compare" search={{ a: of, b: id }} className="text-accent underline">
                compare
              </Link>
              )
            </>
          )}
        </span>
      )}
      <span>
        by <bdi>{harmless(word(view.provenance?.started_by_name) || word(view.provenance?.started_by) || 'BuilderOS')}</bdi>
      </span>
      <Time at={run.created_at} />
      {run.ended_at && <span>took {duration(took(run.started_at ?? run.created_at, run.ended_at, 0))}</span>}
      {agents && <Cost id={id} />}
      {view.preview_url && (
        <a href={view.preview_url} rel="noreferrer noopener" target="_blank" className="text-accent underline">
          Look at the preview
        </a>
      )}
      {run.detail && <span className="text-bad">{harmless(run.detail).slice(0, 300)}</span>}
    </div>
  )
}

function Cost({ id }: { id: string }) {
  const sums = useQuery({
    queryKey: ['run', id, 'cost'],
    queryFn: ({ signal }) => data(api.GET('/v1/ai/usage/sums', { params: { query: { by: 'run', run_id: id } }, signal })),
    retry: false,
  })
  const total = sums.data?.totals
  if (!total || total.requests === 0) return null
  return (
    <span title={`${total.requests} requests`}>
      {(total.input_tokens + total.output_tokens).toLocaleString('en')} tokens, ${total.cost.toFixed(total.cost < 0.01 ? 4 : 2)}
    </span>
  )
}

type Ask = 'cancel' | 'rerun' | 'replay' | 'rollback'

/** What the caller may do to the run as it stands now. */
export function Actions({ id, view, step }: { id: string; view: View; step: Step | undefined }) {
  const may = useMay(id)
  const go = useNavigate()
  const [ask, setAsk] = useState<Ask | null>(null)
  const over = isOver(view.run.status)
  const control = useMutation({
    mutationFn: (act: 'pause' | 'resume') => data(api.POST(act === 'pause' ? '/v1/runs/{id}/pause' : '/v1/runs/{id}/resume', { params: { path: { id } }, body: { reason: '' } })),
    onSuccess: (_, act) => {
      toast(act === 'pause' ? 'Paused: nothing new begins.' : 'It goes on.')
      void cache.invalidateQueries({ queryKey: ['run', id] })
    },
    onError: (error) => toast(error.message, { tone: 'bad' }),
  })
  const opened = (run_id: string, said: string) => {
    toast(said)
    void go({ to: '/runs/$id', params: { id: run_id } })
  }
  const commits = Array.isArray(view.provenance?.commits) ? view.provenance.commits.map(word) : []
  const overdue = !over && view.gates?.some((gate) => gate.state === 'waiting' && isPast(gate)) === true
  const paused = view.run.status === 'paused'
  const close = () => setAsk(null)
  return (
    <>
      {may('run.control') && !over && (
        <>
          {paused || overdue ? (
            <Button look="main" busy={control.isPending} onClick={() => control.mutate('resume')}>
              Resume
            </Button>
          ) : (
            <Button busy={control.isPending} onClick={() => control.mutate('pause')}>
              Pause
            </Button>
          )}
          <Button look="danger" onClick={() => setAsk('cancel')}>
            Cancel
          </Button>
        </>
      )}
      {may('run.start') && over && (
        <>
          <Button icon="runs" onClick={() => setAsk('rerun')}>
            {step ? 'Rerun from here' : 'Rerun'}
          </Button>
          <Button onClick={() => setAsk('replay')}>Replay</Button>
        </>
      )}
      {may('git.rollback') && over && commits.length > 0 && (
        <Button icon="undo" onClick={() => setAsk('rollback')}>
          Roll back
        </Button>
      )}
      <CopyAs call={{ cli: `builderos run show ${id}`, method: 'GET', path: `/v1/runs/${id}/view` }} />
      <Cancel open={ask === 'cancel'} id={id} onClose={close} />
      <Confirm
        open={ask === 'rerun'}
        onClose={close}
        title={step ? `Run again from ${harmless(step.name)}` : 'Run everything again'}
        act={step ? 'Rerun from here' : 'Rerun'}
        run={async () => {
          const made = await data(api.POST('/v1/runs/{id}/rerun', { params: { path: { id } }, body: step ? { from_step: step.name } : {} }))
          opened(made.run_id, 'A new run began.')
        }}
      >
        <p>{step ? 'What came before this step is taken over as it is; the step and what follows it run again.' : 'All steps run again, with the same inputs.'}</p>
      </Confirm>
      <Confirm
        open={ask === 'replay'}
        onClose={close}
        title="Replay from the records"
        act="Replay"
        run={async () => {
          const made = await data(api.POST('/v1/runs/{id}/replay', { params: { path: { id } }, body: {} }))
          opened(made.run_id, 'The replay began.')
        }}
      >
        <p>Everything runs again from what was recorded, without the network and without any effect. It shows whether the same comes out.</p>
      </Confirm>
      <Rollback open={ask === 'rollback'} view={view} commits={commits} onClose={close} />
    </>
  )
}

function isPast(gate: NonNullable<View['gates']>[number]): boolean {
  const until = word(gate.approval?.expires_at) || word(gate.question?.expires_at)
  return until !== '' && Date.parse(until) < Date.now()
}

function Cancel({ open, id, onClose }: { open: boolean; id: string; onClose: () => void }) {
  const [reason, setReason] = useState('')
  return (
    <Confirm
      open={open}
      onClose={onClose}
      title="Cancel this run?"
      act="Cancel the run"
      danger
      run={async () => {
        await data(api.POST('/v1/runs/{id}/cancel', { params: { path: { id } }, body: { reason } }))
        toast('The run was cancelled.')
        void cache.invalidateQueries({ queryKey: ['run', id] })
      }}
    >
      <p>What it runs is stopped with all its processes; what waits is given up. It can be run again.</p>
      <TextField label="Why (optional)" value={reason} onChange={setReason} maxLength={2000} />
    </Confirm>
  )
}

/** Undo what the run committed, newest first, each with a commit of its own. */
function Rollback({ open, view, commits, onClose }: { open: boolean; view: View; commits: readonly string[]; onClose: () => void }) {
  const [reason, setReason] = useState('')
  return (
    <Confirm
      open={open}
      onClose={onClose}
      title={commits.length === 1 ? 'Undo the commit of this run?' : `Undo the ${commits.length} commits of this run?`}
      act="Roll back"
      danger
      run={async () => {
        if (!reason.trim()) throw new Error('say why it is undone')
        for (const commit_sha of [...commits].reverse())
          await data(api.POST('/git/rollback_commit', { body: { repo_name: view.run.repo_name, branch: view.run.branch, commit_sha, reason, paths: [] } }))
        toast('Undone by a new commit; nothing is lost.')
        setReason('')
        void cache.invalidateQueries()
      }}
    >
      <p>A new commit takes back what the run changed on {harmless(view.run.branch)}. The undo can be undone, too.</p>
      <TextField label="Why" value={reason} onChange={setReason} required maxLength={1000} />
    </Confirm>
  )
}
