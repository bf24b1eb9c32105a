import { Link } from '@tanstack/react-router'
import { api, data } from '../api/client'
import { Listing } from '../ui/Listing'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'

const VERDICTS = { pass: 'passed', fail: 'failed' } as const

/** Results of suites, newest first. */
export function EvalRows({ query, empty, command }: { query: { suite?: string | undefined; prompt?: string | undefined }; empty: string; command: string }) {
  const asked = { suite: query.suite ?? null, prompt: query.prompt ?? null }
  return (
    <Listing
      label="All results"
      queryKey={['evals', asked]}
      read={(cursor, signal) => data(api.GET('/v1/evals', { params: { query: { ...asked, limit: 100, cursor } }, signal }))}
      keyOf={(one) => one.id}
      empty={empty}
      command={command}
      columns={[
        { id: 'suite', title: 'Suite', width: 'minmax(10rem, 1fr)', cell: (one) => <Link to="/evals" search={{ suite: one.suite, run: one.run_id }} className="text-accent underline">{harmless(one.suite)}</Link> },
        { id: 'prompt', title: 'Prompt', width: 'minmax(10rem, 1fr)', cell: (one) => one.prompt && <Link to="/prompts/$name" params={{ name: one.prompt }} search={{ version: one.version ?? undefined }} className="text-accent underline">{harmless([one.prompt, one.version].filter(Boolean).join(' '))}</Link> },
        { id: 'verdict', title: 'Verdict', width: '8rem', cell: (one) => <Status of={VERDICTS[one.verdict]} /> },
        { id: 'rate', title: 'Passed', width: '7rem', align: 'right', cell: (one) => `${(one.pass_rate * 100).toFixed(1)} %` },
        { id: 'cases', title: 'Cases', width: '6rem', align: 'right', cell: (one) => one.cases },
        { id: 'worse', title: 'Worse', width: '6rem', align: 'right', cell: (one) => one.regressions },
        { id: 'flaky', title: 'Flaky', width: '6rem', align: 'right', cell: (one) => one.flaky },
        { id: 'branch', title: 'Branch', width: 'minmax(9rem, 1fr)', cell: (one) => harmless(one.branch) },
        { id: 'at', title: 'When', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
      ]}
    />
  )
}
