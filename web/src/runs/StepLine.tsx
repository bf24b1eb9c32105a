import { Link } from '@tanstack/react-router'
import { Button } from '../ui/Button'
import { Note } from '../ui/Note'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { duration, Time } from '../ui/Time'
import { took, type Step, type View } from './data'

const REASONS: Record<string, string> = {
  exit: 'its command failed', timeout: 'it took too long', oom: 'it needed more memory than it may have', disk: 'it wrote more than it may',
  policy: 'a rule or a person said no', hash_mismatch: 'what came out is not what was promised', lost: 'the machine that ran it was lost', gate: 'a check of it failed', budget: 'its budget is used up',
}

/** The chosen step in a few words; without one, what needs a look. */
export function StepLine({ view, step, onClear, onChoose }: { view: View; step: Step | undefined; onClear: () => void; onChoose: (name: string) => void }) {
  if (!step) return <Trouble view={view} onChoose={onChoose} />
  return (
    <div className="flex flex-col gap-2">
      <div className="flex flex-wrap items-center gap-x-4 gap-y-1">
        <h2>
          <bdi>{harmless(step.name)}</bdi>
        </h2>
        <Status of={step.status} />
        <span className="text-sm text-muted">
          <bdi>{harmless(step.agent_id ?? step.action)}</bdi>
          {step.lane && `, lane ${harmless(step.lane)}`}
          {step.attempt > 1 && `, attempt ${step.attempt}`}
        </span>
        {step.start && (
          <span className="text-sm text-muted">
            <Time at={step.start} />
            {step.end && `, took ${duration(took(step.start, step.end, 0))}`}
          </span>
        )}
        {step.exit_code !== null && step.exit_code !== 0 && <span className="text-sm text-bad">exit code {step.exit_code}</span>}
        {step.child_run_id && (
          <Link to="/runs/$id" params={{ id: step.child_run_id }} className="text-sm text-accent underline">
            Its own run
          </Link>
        )}
        <span className="grow" />
        <Button small look="quiet" onClick={onClear}>
          Show the whole run
        </Button>
      </div>
      {(step.error || step.reason) && step.status !== 'succeeded' && (
        <Note tone={step.status === 'skipped' ? 'calm' : 'bad'}>
          {step.reason && <p className="font-medium">Because {REASONS[step.reason] ?? harmless(step.reason)}.</p>}
          {step.error && <p className="font-mono text-sm break-words whitespace-pre-wrap">{harmless(step.error.slice(0, 2000).replaceAll('\n', ' · '))}</p>}
        </Note>
      )}
    </div>
  )
}

function Trouble({ view, onChoose }: { view: View; onChoose: (name: string) => void }) {
  const failed = view.failed ?? []
  if (failed.length === 0) return null
  return (
    <Note tone="bad">
      <ul className="flex flex-col gap-1">
        {failed.slice(0, 5).map((one) => (
          <li key={one.step_id} className="flex flex-wrap items-baseline gap-x-3">
            <Button small onClick={() => onChoose(one.name)}>
              <bdi>{harmless(one.name)}</bdi>
            </Button>
            <span className="min-w-0 break-words">{harmless(one.error.slice(0, 300).replaceAll('\n', ' · '))}</span>
          </li>
        ))}
      </ul>
    </Note>
  )
}
