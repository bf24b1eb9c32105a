import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useBranches } from '../api/branches'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { PlaceFields } from '../projects/PlaceFields'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Select, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'

type Job = Schemas['ScoringJob']
type ModelVersion = Pick<Schemas['ModelVersion'], 'name' | 'version'>

/** Tables that the versions of a model scored, and another one for this version. */
export function Scoring({ one }: { one: ModelVersion }) {
  const may = useMay()
  const [asking, setAsking] = useState(false)
  const ref = `${one.name}@${one.version}`
  return (
    <div className="flex flex-col gap-3">
      {may('run.start') && <div><Button icon="runs" onClick={() => setAsking(true)}>Score a dataset</Button></div>}
      <Listing
        label="What it scored"
        queryKey={['models', 'scoring', one.name]}
        read={(cursor, signal) => data(api.GET('/v1/scoring-jobs', { params: { query: { model: one.name, limit: 50, cursor } }, signal }))}
        keyOf={(job) => job.id}
        empty="No dataset was scored yet."
        command={`builderos model score ${ref} data@1`}
        call={{ cli: 'builderos model jobs', method: 'GET', path: `/v1/scoring-jobs?model=${one.name}`, mcp: { name: 'listScoringJobs', arguments: { model: one.name } } }}
        changing={(job) => job.status === 'scheduled' || job.status === 'running'}
        columns={[
          { id: 'status', title: 'State', width: '8rem', cell: (job) => <Status of={job.status} /> },
          { id: 'version', title: 'By', width: '9rem', cell: (job) => <bdi>{harmless(job.model)}</bdi> },
          { id: 'data', title: 'Dataset', width: 'minmax(10rem, 1fr)', cell: (job) => <><Link to="/datasets/$id" params={{ id: job.dataset }} className="text-accent underline"><bdi>{harmless(job.dataset)}</bdi></Link> <bdi className="text-muted">{shownLine(job.file, 60)}</bdi></> },
          { id: 'rows', title: 'Rows', width: '9rem', align: 'right', cell: (job) => `${job.rows_done.toLocaleString('en')}${job.rows_total === null ? '' : ` of ${job.rows_total.toLocaleString('en')}`}` },
          { id: 'what', title: 'What came of it', width: 'minmax(12rem, 2fr)', cell: (job) => <Result of={job} /> },
          { id: 'run', title: 'Carried out by', width: '9rem', cell: (job) => <Link to="/runs/$id" params={{ id: job.run_id }} className="text-accent underline">Its run</Link> },
          { id: 'at', title: 'Asked', width: '9rem', cell: (job) => <Time at={job.created_at} /> },
        ]}
      />
      {asking && <Ask one={one} onClose={() => setAsking(false)} />}
    </div>
  )
}

function Result({ of }: { of: Job }) {
  if (of.error) return <bdi title={shownLine(of.error.message, 400)}>{typeof of.error.row === 'number' && `Row ${of.error.row.toLocaleString('en')}: `}{shownLine(of.error.message, 200)}</bdi>
  if (of.result) return <Link to="/datasets/$id" params={{ id: of.result }} className="text-accent underline"><bdi>{harmless(of.result)}</bdi></Link>
  return of.artifact_id && <a href={`/v1/artifacts/${of.artifact_id}/content`} download className="text-accent underline">Download the result</a>
}

function Ask({ one, onClose }: { one: ModelVersion; onClose: () => void }) {
  const cache = useQueryClient()
  const sets = useQuery({ queryKey: ['datasets', 'offered'], queryFn: ({ signal }) => data(api.GET('/v1/datasets', { params: { query: { limit: 200 } }, signal })) })
  const repos = useQuery({ queryKey: ['projects', 'all'], queryFn: ({ signal }) => data(api.GET('/v1/repos', { params: { query: { limit: 200 } }, signal })) })
  const [typed, setTyped] = useState({ repo: '', branch: '', dataset: '', file: '', columns: '', carry: '', result: '', runtime: '' })
  const repo = typed.repo || repos.data?.items[0]?.repo_name || ''
  const { branches } = useBranches(repo || undefined)
  const branch = typed.branch || branches.find((each) => each.name !== 'main')?.name || branches[0]?.name || ''
  const dataset = typed.dataset || sets.data?.items[0]?.ref || ''
  const field = (name: keyof typeof typed) => ({ value: typed[name], onChange: (value: string) => setTyped({ ...typed, [name]: value }) })
  const score = useMutation({
    mutationFn: () =>
      data(api.POST('/v1/models/{name}/score', {
        params: { path: { name: one.name } },
        body: { version: one.version, repo_name: repo, branch, dataset_ref: dataset, file: typed.file.trim() || null, columns: listed(typed.columns), carry: listed(typed.carry), register_as: typed.result.trim() || null, runtime: typed.runtime.trim() },
      })),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['models', 'scoring'] })
      onClose()
    },
  })
  return (
    <Dialog open onClose={onClose} title={`Score a dataset with ${harmless(one.name)}@${one.version}`} actions={<Button look="main" type="submit" form="score" busy={score.isPending} disabled={dataset === '' || branch === ''}>Score it</Button>}>
      <form id="score" className="grid gap-3 sm:grid-cols-2" onSubmit={(event) => { event.preventDefault(); score.mutate() }}>
        <Select label="Dataset" value={dataset} onChange={(value) => setTyped({ ...typed, dataset: value })} options={(sets.data?.items ?? []).map((each) => [each.ref, harmless(each.ref)] as const)} />
        <TextField label="Which of its files" placeholder="the only one" {...field('file')} />
        <PlaceFields repo={repo} branch={branch} onRepo={(value) => setTyped({ ...typed, repo: value, branch: '' })} onBranch={(value) => setTyped({ ...typed, branch: value })} />
        <TextField label="Columns that the model gets" placeholder="those that it names" {...field('columns')} />
        <TextField label="Columns beside the answers" placeholder="id" {...field('carry')} />
        <TextField label="Keep the result as the dataset" placeholder="only as a file" {...field('result')} />
        <TextField label="Runtime" placeholder="the first approved one" {...field('runtime')} />
      </form>
      {score.isError && <ProblemNote error={score.error} />}
    </Dialog>
  )
}

const listed = (text: string): string[] => text.split(',').map((each) => each.trim()).filter(Boolean)
