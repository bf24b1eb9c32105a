import type { ReactNode } from 'react'
import { asProblem } from '../api/problem'
import { Button } from './Button'
import { Icon, type IconName } from './Icon'

type Tone = 'bad' | 'warn' | 'good' | 'calm'

const TONES: Record<Tone, [string, IconName]> = {
  bad: ['border-bad text-bad', 'warn'],
  warn: ['border-warn text-warn', 'warn'],
  good: ['border-good text-good', 'approvals'],
  calm: ['border-line text-muted', 'why'],
}

/** A sentence that stands out. */
export function Note({ tone = 'calm', role, children }: { tone?: Tone; role?: 'alert' | 'status'; children: ReactNode }) {
  const [look, icon] = TONES[tone]
  return (
    <div role={role} className={`flex items-start gap-2 rounded-md border-l-4 bg-panel px-3 py-2 ${look}`}>
      <Icon name={icon} className="mt-1" />
      <div className="min-w-0 text-text">{children}</div>
    </div>
  )
}

/** What the server refused, why, and what to do next. */
export function ProblemNote({ error, again }: { error: unknown; again?: () => void }) {
  const problem = asProblem(error)
  return (
    <Note tone="bad" role="alert">
      <p className="font-medium">{sentence(problem.detail)}</p>
      {problem.hint && <p>{problem.hint}</p>}
      {problem.fields.length > 0 && (
        <ul className="list-disc pl-5">
          {problem.fields.map((one) => (
            <li key={one.field}>
              {one.field}: {one.problem}
            </li>
          ))}
        </ul>
      )}
      {problem.requestId && <p className="text-sm text-muted">{problem.requestId}</p>}
      {again && (
        <Button small className="mt-2" onClick={again}>
          Try again
        </Button>
      )}
    </Note>
  )
}

function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(begun) ? begun : `${begun}.`
}
