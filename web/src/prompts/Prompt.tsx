import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useLive } from '../api/live'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Code, Facts, json } from '../ui/Facts'
import { Select } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table } from '../ui/Table'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { Diff } from '../approvals/Diff'
import { EvalRows } from '../evals/EvalRows'
import { Scores } from '../evals/Scores'
import { Start } from '../evals/Start'
import { Edit } from './Edit'
import { Label } from './Label'
import { promptRoute } from './route'

export const Route = createLazyRoute('/prompts/$name')({ component: Prompt })

type Version = Schemas['builderos__assets__prompts__schema__Version']
const GATES = { pass: 'gate_passed', fail: 'gate_failed', wait: 'gate_waits' } as const
const percent = (value: number | null): string => (value === null ? 'not tried' : `${(value * 100).toFixed(1)} %`)

function Prompt() {
  const { name } = promptRoute.useParams()
  const search = promptRoute.useSearch()
  const versions = useQuery({
    queryKey: ['prompts', name, 'versions'],
    queryFn: ({ signal }) => data(api.GET('/v1/prompts/{name}/versions', { params: { path: { name }, query: { limit: 200 } }, signal })),
  })
  const cache = useQueryClient()
  // What a suite said decides about gates.
  useLive('evals', useMemo(() => () => void cache.invalidateQueries({ queryKey: ['prompts', name] }), [cache, name]))
  const all = useMemo(() => versions.data?.items ?? [], [versions.data])
  // Here and not beside the text: a version that is published takes the place of the one that is shown.
  const [editing, setEditing] = useState<string | null>(null)
  const shown = search.version ?? all[0]?.version
  const at = all.findIndex((one) => one.version === shown)
  const from = search.from ?? all[at + 1]?.version
  return (
    <Page
      title={harmless(name)}
      tab={`${name} · Prompts`}
      below={<Link to="/prompts" className="text-accent underline">All prompts</Link>}
      actions={
        <>
          <CopyAs call={{ cli: `builderos prompt show ${name}`, method: 'GET', path: `/v1/prompts/${encodeURIComponent(name)}`, mcp: { name: 'showPrompt', arguments: { name } } }} />
          <Export name={name} />
        </>
      }
    >
      {versions.isPending ? <Waiting /> : versions.isError ? <ProblemNote error={versions.error} again={() => void versions.refetch()} /> : <Versions name={name} all={all} shown={shown} />}
      {shown && from && from !== shown && <Compare name={name} from={from} to={shown} all={all} />}
      {shown && <Text key={shown} name={name} version={shown} onEdit={setEditing} />}
      {editing !== null && <Edit title={`The next version of ${harmless(name)}`} content={editing} onClose={() => setEditing(null)} />}
      <Section title="How it did">
        <Scores prompt={name} />
        <EvalRows query={{ prompt: name }} empty="No suite was tried with this prompt." command={`builderos eval run <suite> --prompt ${name}`} />
      </Section>
    </Page>
  )
}

function Versions({ name, all, shown }: { name: string; all: readonly Version[]; shown: string | undefined }) {
  const may = useMay()
  const [labelling, setLabelling] = useState<Version | null>(null)
  const [trying, setTrying] = useState<Version | null>(null)
  const acts = may('prompt.label') || may('run.start')
  return (
    <Section title="Versions">
      <Table
        label="All versions"
        rows={all}
        keyOf={(one) => one.version}
        className="max-h-80"
        columns={[
          { id: 'version', title: 'Version', width: '8rem', cell: (one) => <Link to="/prompts/$name" params={{ name }} search={{ version: one.version }} aria-current={one.version === shown ? 'true' : undefined} className={one.version === shown ? 'font-semibold text-accent' : 'text-accent underline'}>{one.version}</Link> },
          { id: 'gate', title: 'Gate', width: '9rem', cell: (one) => <Status of={GATES[one.gate]} /> },
          { id: 'labels', title: 'Labels', width: 'minmax(9rem, 1fr)', cell: (one) => [...(one.latest ? ['latest'] : []), ...one.labels.filter((label) => label !== 'latest')].join(', ') },
          { id: 'changelog', title: 'What changed', width: 'minmax(14rem, 2fr)', cell: (one) => harmless(one.changelog) },
          { id: 'why', title: 'What holds it back', width: 'minmax(12rem, 1fr)', cell: (one) => harmless(one.why) },
          { id: 'at', title: 'When', width: '9rem', cell: (one) => (one.created_at ? <Time at={one.created_at} /> : 'comes along') },
          ...(acts ? [{ id: 'acts', title: 'Acts', width: '11rem', cell: (one: Version) => (
            <span className="flex gap-2">
              {may('run.start') && <Button small onClick={() => setTrying(one)}>Try it</Button>}
              {may('prompt.label') && <Button small onClick={() => setLabelling(one)}>Label</Button>}
            </span>
          ) }] : []),
        ]}
      />
      {trying && <Start suite="" prompt={`${name}@${trying.version}`} onClose={() => setTrying(null)} />}
      {labelling && <Label name={name} version={labelling.version} onClose={() => setLabelling(null)} />}
    </Section>
  )
}

function Compare({ name, from, to, all }: { name: string; from: string; to: string; all: readonly Version[] }) {
  const go = useNavigate()
  const diff = useQuery({
    queryKey: ['prompts', name, 'diff', from, to],
    queryFn: ({ signal }) => data(api.GET('/v1/prompts/{name}/diff', { params: { path: { name }, query: { from, to } }, signal })),
  })
  const options = all.filter((one) => one.version !== to).map((one) => [one.version, one.version] as const)
  return (
    <Section title={`${to} against ${from}`} actions={<div className="w-40"><Select label="Compare with" value={from} onChange={(value) => void go({ to: '/prompts/$name', params: { name }, search: { version: to, from: value } })} options={options} /></div>}>
      {diff.isPending ? <Waiting /> : diff.isError ? <ProblemNote error={diff.error} again={() => void diff.refetch()} /> : (
        <div className="grid min-w-0 gap-4 xl:grid-cols-[minmax(0,2fr)_minmax(0,1fr)]">
          <div className="flex min-w-0 flex-col gap-3">
            {diff.data.text ? <Diff text={diff.data.text} /> : <Note>The text is the same.</Note>}
          </div>
          <div className="flex min-w-0 flex-col gap-3">
            <h3>What became of the evals</h3>
            {diff.data.evals.length === 0 && <p className="text-muted">No suite was tried with both.</p>}
            {diff.data.evals.length > 0 && (
              <table aria-label="Evals of both versions" className="w-full min-w-[24rem] text-sm">
                <thead>
                  <tr className="text-left text-muted"><th scope="col">Suite</th><th scope="col" className="text-right">{from}</th><th scope="col" className="text-right">{to}</th><th scope="col" className="text-right">Change</th></tr>
                </thead>
                <tbody>
                  {diff.data.evals.map((one) => (
                    <tr key={one.suite}>
                      <th scope="row" className="text-left font-normal">{harmless(one.suite)}</th>
                      <td className="text-right">{percent(one.before)}</td>
                      <td className="text-right">{percent(one.after)}</td>
                      <td className={`text-right ${(one.delta ?? 0) < 0 ? 'text-bad' : (one.delta ?? 0) > 0 ? 'text-good' : ''}`}>{one.delta === null ? '' : `${one.delta > 0 ? '+' : ''}${(one.delta * 100).toFixed(1)} points`}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            )}
            <h3>What changed</h3>
            <p className="text-sm text-muted">A {diff.data.level} change; the next version would be {diff.data.suggested_version}.</p>
            <ul className="list-disc pl-5 text-sm">
              {diff.data.changes.map((one) => (
                <li key={one.field}><code>{harmless(one.field)}</code> ({one.level}): {harmless(one.why)}</li>
              ))}
            </ul>
          </div>
        </div>
      )}
    </Section>
  )
}

function Text({ name, version, onEdit }: { name: string; version: string; onEdit: (content: string) => void }) {
  const found = useQuery({
    queryKey: ['prompts', name, version],
    queryFn: ({ signal }) => data(api.GET('/v1/prompts/{name}', { params: { path: { name }, query: { version } }, signal })),
  })
  const may = useMay()
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  return (
    <Section title={`Version ${version}`} actions={may('prompt.publish') && <Button icon="plus" onClick={() => onEdit(found.data.spec_yaml)}>Write the next version</Button>}>
      <Facts label="The version" of={[['What for', found.data.description], ['Owner', found.data.owner], ['Tags', found.data.tags.join(', ')], ['Inputs', Object.keys(found.data.inputs).join(', ')], ['Model', json(found.data.model) === '{}' ? '' : <code key="model">{json(found.data.model)}</code>], ['Hash', <code key="hash" className="break-all">{found.data.sha256}</code>]]} />
      <Code label="Template" text={found.data.template} />
      <details>
        <summary className="cursor-pointer text-accent">The whole file</summary>
        <Code label="File" text={found.data.spec_yaml} />
      </details>
    </Section>
  )
}

/** A pack with every version of this prompt, made by the server, kept as a file. */
function Export({ name }: { name: string }) {
  const take = useMutation({
    mutationFn: () => data(api.POST('/v1/prompts/export', { body: { prompts: [name], name, version: '1.0.0' }, parseAs: 'blob' })),
    onSuccess: (pack) => {
      const url = URL.createObjectURL(pack as unknown as Blob)
      const link = document.createElement('a')
      link.href = url
      link.download = 'promptpack.zip'
      link.click()
      setTimeout(() => URL.revokeObjectURL(url), 10_000)
    },
    onError: (error) => toast(error.message, { tone: 'bad' }),
  })
  return (
    <Button icon="download" busy={take.isPending} onClick={() => take.mutate()}>
      Export
    </Button>
  )
}
