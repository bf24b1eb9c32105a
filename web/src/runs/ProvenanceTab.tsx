import { useQuery } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { Copy } from '../ui/Copy'
import { Note, ProblemNote } from '../ui/Note'
import { Panel } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { toast } from '../ui/toasts'
import { save } from './ArtifactsTab'
import { isOver, type Step } from './data'
import { ReplayResult } from './ReplayResult'
import { receiptOf, verified, type Verdict } from './receipt'
import type { Pane } from './Run'

const word = (value: unknown): string => (typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '')
const words = (value: unknown): string[] => (Array.isArray(value) ? value.map(word).filter(Boolean) : [])

/** From what the run was made, and what it left: prompt, agent, tool, commit, artifact. */
export default function ProvenanceTab({ id, view, steps, step }: Pane) {
  const made = view.provenance ?? {}
  const commits = words(made.commits)
  return (
    <div className="flex flex-col gap-4">
      {view.run.trigger.type === 'replay' ? <ReplayResult id={id} /> : isOver(view.run.status) && <Receipt id={id} />}
      <Panel className="p-3">
        <dl className="grid gap-x-4 gap-y-1 text-sm sm:grid-cols-[10rem_1fr]">
          <Fact name="Started by">
            {word(made.started_by_name)} <code className="font-mono text-muted">{word(made.started_by)}</code>
          </Fact>
          <Fact name="Pipeline">
            {view.run.pipeline_id} <code className="font-mono text-muted">{word(made.definition).slice(0, 19)}</code>
          </Fact>
          <Fact name="Rules in force">{word(made.policy).slice(0, 19) || 'those that ship'}</Fact>
          <Fact name="Began from">{word(made.base_sha)}</Fact>
          <Fact name="Inputs">{word(made.input_fingerprint)}</Fact>
          {word(made.rerun_of) && <Fact name="Repeats">{word(made.rerun_of)}</Fact>}
        </dl>
      </Panel>
      <Chain steps={step ? [step] : steps} />
      {commits.map((sha) => (
        <Commit key={sha} sha={sha} />
      ))}
    </div>
  )
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt className="text-muted">{name}</dt>
      <dd className="min-w-0 break-all">{children}</dd>
    </>
  )
}

/** Prompt → agent → tool → what it left, a line per step that left something. */
function Chain({ steps }: { steps: readonly Step[] }) {
  const told = steps.filter((one) => one.agent_id !== null || one.commit_sha !== null || one.artifacts_ref.length > 0).slice(0, 100)
  if (told.length === 0) return null
  return (
    <Panel>
      <ul className="divide-y divide-line">
        {told.map((one) => (
          <li key={one.id} className="flex flex-wrap items-center gap-x-2 gap-y-1 px-3 py-2 text-sm">
            {linksOf(one).map(([kind, text], n) => (
              <span key={kind} className="flex min-w-0 items-center gap-2">
                {n > 0 && <span aria-hidden="true">→</span>}
                <span className="min-w-0 rounded border border-line bg-raised px-2 py-0.5">
                  <span className="text-muted">{kind}</span> <bdi className="break-all">{shownLine(text, 120)}</bdi>
                </span>
              </span>
            ))}
          </li>
        ))}
      </ul>
    </Panel>
  )
}

function linksOf(step: Step): [string, string][] {
  const made = (typeof step.result.made_with === 'object' && step.result.made_with !== null ? step.result.made_with : {}) as Record<string, unknown>
  const links: [string, string][] = [
    ['prompt', word(made.prompt) || word(made.prompt_ref)],
    ['agent', word(made.agent) || (step.agent_id ?? '')],
    ['model', word(made.model)],
    ['step', step.name],
    ['commit', step.commit_sha?.slice(0, 10) ?? ''],
    ['artifacts', step.artifacts_ref.length > 0 ? String(step.artifacts_ref.length) : ''],
  ]
  return links.filter(([, text]) => text !== '')
}

function Commit({ sha }: { sha: string }) {
  const found = useQuery({ queryKey: ['commits', sha, 'provenance'], queryFn: ({ signal }) => data(api.GET('/v1/provenance/{id}', { params: { path: { id: sha } }, signal })) })
  if (found.isError) return <ProblemNote error={found.error} />
  const commit = found.data?.commit
  if (!commit) return null
  const verify = `builderos provenance ${sha}`
  return (
    <Panel className="flex flex-col gap-2 p-3 text-sm">
      <div className="flex flex-wrap items-center gap-2">
        <code className="font-mono font-medium">{sha.slice(0, 10)}</code>
        <span className="min-w-0 grow break-words">{shownLine(commit.message.split('\n')[0] ?? '', 300)}</span>
        <Copy text={verify} label="Copy the command" />
      </div>
      <p className="text-muted">
        {harmless(commit.author)}
        {commit.agent_version && `, agent ${harmless(commit.agent_version)}`}
        {commit.prompt_version && `, prompt ${harmless(commit.prompt_version)}`}
        {commit.act && `, through ${harmless(commit.act.door)}, by rules ${commit.act.rules.map(harmless).join(', ') || 'that ship'}`}
      </p>
      <ul className="flex flex-wrap gap-2">
        {commit.paths.slice(0, 20).map((path) => (
          <li key={path} className="rounded bg-raised px-1.5 font-mono">
            <bdi>{shownLine(path, 120)}</bdi>
          </li>
        ))}
        {commit.paths.length > 20 && <li>{commit.paths.length - 20} more</li>}
      </ul>
    </Panel>
  )
}

function Receipt({ id }: { id: string }) {
  const [said, setSaid] = useState<Verdict | null>(null)
  const get = async (then: 'save' | 'verify') => {
    try {
      const receipt = await receiptOf(id)
      if (then === 'save') save(new Blob([JSON.stringify(receipt, null, 1)], { type: 'application/json' }), `${id}.receipt.json`)
      else setSaid(await verified(receipt))
    } catch (error) {
      toast(error instanceof Error ? error.message : 'There is no receipt.', { tone: 'bad' })
    }
  }
  return (
    <Panel className="flex flex-col gap-2 p-3">
      <div className="flex flex-wrap items-center gap-2">
        <p className="grow">This run has a signed receipt: what it was made from, what it made, and who said yes.</p>
        <Button small icon="download" onClick={() => void get('save')}>
          Download the receipt
        </Button>
        <Button small onClick={() => void get('verify')}>
          Verify
        </Button>
        <Copy text={`builderos receipt ${id} > receipt.json && builderos verify-receipt receipt.json`} label="Copy the command" />
      </div>
      {said && (
        <Note tone={said.good ? 'good' : 'bad'} role="status">
          {said.words}
        </Note>
      )}
    </Panel>
  )
}
