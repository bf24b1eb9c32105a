import { useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { Code, Facts, json } from '../ui/Facts'
import { TextField } from '../ui/Field'
import { ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table } from '../ui/Table'
import { Waiting } from '../ui/Waiting'
import { EvalRows } from './EvalRows'
import { Scores } from './Scores'
import { Start } from './Start'
import { evalsRoute } from './route'

export const Route = createLazyRoute('/evals')({ component: Evals })

function Evals() {
  const search = evalsRoute.useSearch()
  const go = useNavigate()
  const may = useMay()
  const [typed, setTyped] = useState<{ suite?: string; prompt?: string }>({})
  const [starting, setStarting] = useState(false)
  const of = search.suite ? `--suite ${search.suite}` : ''
  const find = (event: FormEvent) => {
    event.preventDefault()
    void go({ to: '/evals', search: { suite: (typed.suite ?? search.suite ?? '').trim() || undefined, prompt: (typed.prompt ?? search.prompt ?? '').trim() || undefined } })
  }
  return (
    <Page
      title="Evals"
      below="How prompts, models and agents did in suites of cases."
      actions={
        <>
          <CopyAs call={{ cli: `builderos eval list ${of}`.trim(), method: 'GET', path: '/v1/evals', mcp: { name: 'listEvals', arguments: { suite: search.suite, prompt: search.prompt } } }} />
          {may('run.start') && <Button look="main" onClick={() => setStarting(true)}>Try a suite</Button>}
        </>
      }
    >
      <form role="search" onSubmit={find} className="flex flex-wrap items-end gap-3">
        <TextField label="Suite" value={typed.suite ?? search.suite ?? ''} onChange={(suite) => setTyped({ ...typed, suite })} />
        <TextField label="Prompt" value={typed.prompt ?? search.prompt ?? ''} onChange={(prompt) => setTyped({ ...typed, prompt })} />
        <Button type="submit" icon="search">Search</Button>
      </form>
      <Scores suite={search.suite} prompt={search.prompt} />
      {search.suite && search.run && <Result suite={search.suite} run={search.run} />}
      <Section title="Results">
        <EvalRows query={search} empty="No suite was tried." command="builderos eval run <suite>" />
      </Section>
      {starting && <Start suite={search.suite ?? ''} prompt={search.prompt ?? ''} onClose={() => setStarting(false)} />}
    </Page>
  )
}

interface Case {
  id?: unknown
  name?: unknown
  verdict?: unknown
  status?: unknown
  passed?: unknown
  share?: unknown
}

function Result({ suite, run }: { suite: string; run: string }) {
  const found = useQuery({
    queryKey: ['evals', suite, run],
    queryFn: ({ signal }) => data(api.GET('/v1/evals/{suite}/results', { params: { path: { suite }, query: { run_id: run } }, signal })),
  })
  const [shown, setShown] = useState<Case | null>(null)
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  const { result, document, text } = found.data
  const cases = Array.isArray((document as { cases?: unknown }).cases) ? (document as { cases: Case[] }).cases : []
  const named = (one: Case): string => String(one.id ?? one.name ?? '')
  const state = (one: Case): string => String(one.verdict ?? one.status ?? (one.passed === true ? 'passed' : one.passed === false ? 'failed' : ''))
  return (
    <Section title={`${harmless(suite)}: ${result.cases} cases`}>
      <Facts label="The result" of={verdictOf(result)} />
      {cases.length > 0 && (
        <Table
          label="Cases"
          rows={cases}
          keyOf={named}
          onOpen={setShown}
          className="max-h-96"
          columns={[
            { id: 'case', title: 'Case', width: 'minmax(12rem, 1fr)', cell: (one) => <button type="button" className="text-accent underline" onClick={() => setShown(one)}>{harmless(named(one)) || 'case'}</button> },
            { id: 'verdict', title: 'Verdict', width: '9rem', cell: (one) => <Status of={state(one)} /> },
            { id: 'what', title: 'What came', width: 'minmax(16rem, 2fr)', cell: (one) => shownLine(json(one).replace(/\s+/g, ' '), 160) },
          ]}
        />
      )}
      <details>
        <summary className="cursor-pointer text-accent">The whole report</summary>
        <Code label="Report" text={text || json(document)} />
      </details>
      {shown && (
        <Dialog open wide onClose={() => setShown(null)} title={`Case ${named(shown)}`}>
          <Code label="The case" text={json(shown)} />
        </Dialog>
      )}
    </Section>
  )
}

function verdictOf(result: Schemas['Result']): readonly (readonly [string, React.ReactNode])[] {
  return [
    ['Verdict', <Status key="verdict" of={result.verdict === 'pass' ? 'passed' : 'failed'} />],
    ['Passed', `${(result.pass_rate * 100).toFixed(1)} %`],
    ['Worse than before', String(result.regressions)],
    ['Flaky', String(result.flaky)],
    ['Prompt', result.prompt],
    ['Branch', result.branch],
    ['Run', <Link key="run" to="/runs/$id" params={{ id: result.run_id }} className="text-accent underline">{result.run_id}</Link>],
    ['Counts for the gate', result.counts ? 'yes' : 'no'],
  ]
}
