import { Icon, type IconName } from './Icon'

type Tone = 'good' | 'bad' | 'warn' | 'busy' | 'calm'

const TONES: Record<Tone, string> = { good: 'text-good', bad: 'text-bad', warn: 'text-warn', busy: 'text-accent', calm: 'text-muted' }
const LOOKS: Record<string, [Tone, IconName, string]> = {
  queued: ['calm', 'clock', 'queued'],
  running: ['busy', 'spin', 'running'],
  waiting: ['warn', 'wait', 'waiting'],
  waiting_approval: ['warn', 'wait', 'waits for approval'],
  waiting_input: ['warn', 'wait', 'waits for an answer'],
  paused: ['calm', 'wait', 'paused'],
  succeeded: ['good', 'approvals', 'succeeded'],
  failed: ['bad', 'cross', 'failed'],
  denied: ['bad', 'cross', 'denied'],
  cancelled: ['calm', 'cross', 'cancelled'],
  timed_out: ['bad', 'clock', 'timed out'],
  skipped: ['calm', 'right', 'skipped'],
  pending: ['warn', 'wait', 'waiting'],
  approved: ['good', 'approvals', 'approved'],
  allowed: ['good', 'approvals', 'allowed'],
  'needs approval': ['warn', 'wait', 'needs approval'],
  passed: ['good', 'approvals', 'passed'],
  gate_passed: ['good', 'approvals', 'gate passed'],
  gate_failed: ['bad', 'cross', 'gate failed'],
  gate_waits: ['warn', 'wait', 'gate waits'],
  ok: ['good', 'approvals', 'within it'],
  near: ['warn', 'warn', 'nearly used up'],
  exceeded: ['bad', 'cross', 'used up'],
  stable: ['good', 'approvals', 'stable'],
  moved: ['warn', 'warn', 'moved'],
  shifted: ['bad', 'warn', 'shifted'],
  expired: ['calm', 'clock', 'expired'],
  alert: ['bad', 'warn', 'alert'],
  notice: ['warn', 'warn', 'alert'],
  open: ['warn', 'warn', 'open'],
  acked: ['calm', 'approvals', 'acknowledged'],
  resolved: ['good', 'approvals', 'resolved'],
  live: ['good', 'approvals', 'live'],
  active: ['good', 'approvals', 'active'],
  archived: ['calm', 'ring', 'archived'],
  scheduled: ['calm', 'clock', 'scheduled'],
  finished: ['good', 'approvals', 'finished'],
  killed: ['bad', 'cross', 'killed'],
  given_up: ['calm', 'cross', 'given up early'],
  deleted: ['calm', 'cross', 'put away'],
  starting: ['busy', 'spin', 'starting'],
  building: ['busy', 'spin', 'building'],
  ready: ['good', 'approvals', 'ready'],
  idle: ['calm', 'wait', 'idle'],
  awake: ['good', 'approvals', 'awake'],
  failing: ['bad', 'warn', 'failing'],
  superseded: ['calm', 'ring', 'superseded'],
  asleep: ['calm', 'wait', 'asleep'],
  stopping: ['busy', 'spin', 'stopping'],
  stopped: ['calm', 'ring', 'stopped'],
  registered: ['calm', 'ring', 'registered'],
  staged: ['warn', 'right', 'staged'],
  production: ['good', 'approvals', 'in production'],
  retired: ['calm', 'cross', 'retired'],
  requested: ['warn', 'wait', 'requested'],
  applied: ['good', 'approvals', 'applied'],
  rolled_back: ['calm', 'undo', 'rolled back'],
  low: ['calm', 'ring', 'low risk'],
  medium: ['warn', 'warn', 'medium risk'],
  high: ['bad', 'warn', 'high risk'],
}

/** A state as icon and word, never as colour alone. An unknown one is shown as it is. */
export function Status({ of, className = '' }: { of: string; className?: string }) {
  const [tone, icon, word] = LOOKS[of] ?? (['calm', 'ring', of.replaceAll('_', ' ')] as const)
  return (
    <span className={`inline-flex items-center gap-1.5 whitespace-nowrap text-sm font-medium ${TONES[tone]} ${className}`}>
      <Icon name={icon} />
      {word}
    </span>
  )
}
