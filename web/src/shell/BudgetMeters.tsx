import type { Schemas } from '../api/client'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'

type Budget = Schemas['Budget']
const METERS: Record<Budget['meter'], string> = {
  requests: 'Requests', writes: 'Writes', commits: 'Commits', sandboxes: 'Sandboxes', cpu_seconds: 'Processor seconds',
  memory_hours: 'Memory, GiB hours', gpu_hours: 'GPU hours', tokens: 'Tokens of models',
}
const amount = (value: number): string => value.toLocaleString('en', { maximumFractionDigits: 2 })

/** How much of each budget is used, as a bar and in words. */
export function BudgetMeters({ items, ofProject = false }: { items: readonly Budget[]; ofProject?: boolean }) {
  return (
    <ul aria-label="Budgets" className="grid gap-3 sm:grid-cols-2 xl:grid-cols-4">
      {items.map((one) => {
        const name = `${METERS[one.meter]} per ${one.period}`
        const of = !ofProject && one.repo_name ? `${name}, ${harmless(one.repo_name)}` : name
        return (
          <li key={of} className="rounded-lg border border-line bg-panel p-3">
            <p className="flex justify-between gap-2 text-sm">
              <span>{of}</span>
              <span className={`whitespace-nowrap ${one.level === 'ok' ? 'text-muted' : 'font-medium text-warn'}`}>{one.percent} %{one.level === 'exceeded' && ', used up'}</span>
            </p>
            <meter aria-label={of} min={0} max={one.amount} value={Math.min(one.used, one.amount)} high={one.amount * 0.8} optimum={0} className="w-full" />
            <p className="text-sm text-muted">
              {amount(one.used)} of {amount(one.amount)}, anew <Time at={one.resets_at} />
            </p>
          </li>
        )
      })}
    </ul>
  )
}
