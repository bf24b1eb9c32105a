import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { TextArea } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table } from '../ui/Table'
import { Verdict } from './Verdict'

type Answer = Schemas['Answer'] & { n: number }
const EXAMPLE = `- {action: git.push, role: builder, branch_kind: dev, expect: allow}
- {action: deploy.prod, role: builder, branch_kind: main, expect: needs_approval}
- {action: files.write, role: sandbox, branch_kind: main, own: false, expect: deny}
`
const VERDICTS = { allow: 'allowed', needs_approval: 'needs approval', deny: 'denied' } as const

/** Decides about a list of acts, and holds the answers against what was expected; nothing happens. */
export function Simulator({ draft }: { draft: string | null }) {
  const [cases, setCases] = useState(EXAMPLE)
  const [shown, setShown] = useState<Answer | null>(null)
  const run = useMutation({ mutationFn: () => data(api.POST('/v1/policies/simulate', { body: { cases, content: draft, questions: [] } })) })
  return (
    <div className="flex flex-col gap-4">
      <form className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); run.mutate() }}>
        <TextArea label="Cases" value={cases} onChange={setCases} rows={8} spellCheck={false} className="font-mono text-sm" hint="YAML: questions, each with `expect` where it is a test." />
        <div className="flex flex-wrap items-center gap-2">
          <Button look="main" type="submit" busy={run.isPending}>Decide</Button>
          <CopyAs call={{ cli: 'builderos policy test cases.yaml', method: 'POST', path: '/v1/policies/simulate', body: { cases }, mcp: { name: 'simulatePolicy', arguments: { cases } } }} />
          {draft !== null && <span className="text-warn">By the file that you are writing</span>}
        </div>
      </form>
      {run.isError && <ProblemNote error={run.error} />}
      {run.data && (
        <>
          <Note tone={run.data.failed > 0 ? 'bad' : 'good'} role="status">
            {run.data.allowed} allowed, {run.data.denied} denied; {run.data.failed === 0 ? 'everything as expected' : `${run.data.failed} not as expected`}.
          </Note>
          <Table
            label="Answers"
            rows={run.data.answers.map((answer, n): Answer => ({ ...answer, n }))}
            keyOf={(answer) => String(answer.n)}
            onOpen={setShown}
            className="max-h-[50vh]"
            columns={[
              { id: 'n', title: 'Case', width: '4rem', align: 'right', cell: (answer) => answer.n + 1 },
              { id: 'action', title: 'Act', width: 'minmax(10rem, 1fr)', cell: (answer) => <button type="button" className="text-accent underline" onClick={() => setShown(answer)}>{answer.action}</button> },
              { id: 'verdict', title: 'Verdict', width: '11rem', cell: (answer) => <Status of={VERDICTS[answer.verdict]} /> },
              { id: 'passed', title: 'As expected', width: '8rem', cell: (answer) => (answer.passed === null || answer.passed === undefined ? '' : <Status of={answer.passed ? 'passed' : 'failed'} />) },
              { id: 'rules', title: 'By', width: 'minmax(14rem, 2fr)', cell: (answer) => answer.rules.map(harmless).join(', ') },
            ]}
          />
        </>
      )}
      {shown && (
        <Dialog open wide onClose={() => setShown(null)} title={`Case ${shown.n + 1}: ${shown.action}`}>
          <Verdict answer={shown} />
        </Dialog>
      )}
    </div>
  )
}
