import type { Schemas } from '../api/client'
import { Code, Facts, json } from '../ui/Facts'
import { Note } from '../ui/Note'
import { harmless } from '../ui/plain'

const SAYS = { allow: ['good', 'It is allowed.'], needs_approval: ['warn', 'It waits until somebody approves.'], deny: ['bad', 'It is refused.'] } as const

/** What was decided, by which rule, and which rules were in scope. */
export function Verdict({ answer }: { answer: Schemas['Answer'] }) {
  const [tone, words] = SAYS[answer.verdict]
  return (
    <div className="flex flex-col gap-3">
      <Note tone={tone} role="status">
        <p className="font-medium">{words}</p>
        {answer.hint && <p>{harmless(answer.hint)}</p>}
      </Note>
      <Facts label="How it was decided" of={[['Act', answer.action], ['Decided by', answer.decided_by === 'file' ? 'the policy file' : 'the rules that come with BuilderOS'], ['Rules', answer.rules.join(', ')], ['In scope', answer.in_scope.join(', ')], ['Code', answer.code], ['As expected', answer.passed === null || answer.passed === undefined ? '' : answer.passed ? 'yes' : 'no']]} />
      <details>
        <summary className="cursor-pointer text-accent">The deciding rules</summary>
        <Code label="Deciding rules" text={Object.entries(answer.deciding).map(([name, rule]) => `${name}\n${typeof rule === 'string' ? rule : json(rule)}`).join('\n\n')} />
      </details>
    </div>
  )
}
