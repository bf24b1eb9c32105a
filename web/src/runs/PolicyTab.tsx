import { EmptyState } from '../ui/EmptyState'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table, type Column } from '../ui/Table'
import type { Step, View } from './data'
import type { Pane } from './Run'

interface Row {
  key: string
  step: string
  verdict: string
  what: string
  rule: string
  why: string
}

const word = (value: unknown): string => (typeof value === 'string' ? value : value === null || value === undefined ? '' : JSON.stringify(value))
const VERDICTS: Record<string, string> = { allow: 'approved', allowed: 'approved', deny: 'denied', refused: 'denied', approve: 'approved' }
const KNOWN = new Set(['rule', 'rules', 'verdict', 'decision', 'action', 'tool', 'reason', 'detail', 'code', 'hint', 'at'])

const COLUMNS: readonly Column<Row>[] = [
  { id: 'verdict', title: 'Verdict', width: '10rem', cell: (row) => <Status of={VERDICTS[row.verdict] ?? row.verdict} /> },
  { id: 'step', title: 'Step', width: 'minmax(8rem, 1fr)', cell: (row) => <bdi>{harmless(row.step)}</bdi> },
  { id: 'what', title: 'What', width: 'minmax(12rem, 2fr)', cell: (row) => <span title={shownLine(row.what, 400)}>{shownLine(row.what, 200)}</span> },
  { id: 'rule', title: 'Rule', width: 'minmax(8rem, 1fr)', cell: (row) => <code className="font-mono text-sm">{shownLine(row.rule, 120)}</code> },
  { id: 'why', title: 'Why', width: 'minmax(10rem, 2fr)', cell: (row) => <span title={shownLine(row.why, 400)}>{shownLine(row.why, 200)}</span> },
]

/** What was decided in the run: by rules, and by people. */
export default function PolicyTab({ view, steps, step }: Pane) {
  const rows = [...approvalsOf(view, step), ...(step ? [step] : steps).flatMap(eventsOf)]
  if (rows.length === 0) return <EmptyState title="No rule had to decide anything here beyond the start of the run." command="builderos policy show" />
  return <Table label="Decisions" rows={rows} columns={COLUMNS} keyOf={(row) => row.key} className="max-h-[60vh]" />
}

function approvalsOf(view: View, step: Step | undefined): Row[] {
  return (view.gates ?? [])
    .filter((gate) => gate.kind === 'approval' && (!step || gate.step_id === step.id))
    .map((gate) => {
      const said = Array.isArray(gate.approval?.decisions) ? (gate.approval.decisions as Record<string, unknown>[]) : []
      return {
        key: gate.approval_id ?? String(gate.step_id),
        step: gate.name ?? '',
        verdict: gate.state,
        what: word(gate.approval?.reason) || word(gate.approval?.action),
        rule: word(gate.approval?.action),
        why: said.map((one) => `${word(one.who)}: ${word(one.verdict)} ${word(one.comment)}`).join('; '),
      }
    })
}

function eventsOf(step: Step): Row[] {
  return step.policy_events.map((event, n) => {
    const rest = Object.entries(event).filter(([name, value]) => !KNOWN.has(name) && value !== null)
    return {
      key: `${step.id}.${n}`,
      step: step.name,
      verdict: word(event.verdict) || word(event.decision) || 'allow',
      what: [word(event.tool) || word(event.action), ...rest.map(([name, value]) => `${name} ${word(value)}`)].filter(Boolean).join(', '),
      rule: word(event.rule) || (Array.isArray(event.rules) ? event.rules.map(word).join(', ') : ''),
      why: word(event.reason) || word(event.detail) || word(event.hint),
    }
  })
}
