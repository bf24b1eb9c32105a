import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { useBranches } from '../api/branches'
import { api, data, type Schemas } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Select, TextArea, TextField } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'
import { paramsOf, spaceOf } from './space'

type Stop = 'never' | Schemas['Stop']['rule']
const STOPS: readonly (readonly [Stop, string])[] = [['never', 'Never: each trial runs to its end'], ['median', 'When it is worse than half of the others so far'], ['halving', 'When it is not among the best third so far']]
const BEGIN = { repo: '', branch: '', command: 'python train.py', code: '', dataset: '', runtime: '', profile: '', name: '', params: '' }
const BEGIN_SEARCH = { space: '', metric: '', mode: 'max', method: 'grid', trials: '12', parallel: '2', stop: 'never' }

interface Props {
  experiment: string
  /** One run, or many that search for the best params. */
  kind: 'run' | 'search'
  onClose: () => void
}

/** Have a command of a commit run here, with data and params that are written down: once, or as a search. */
export function Submit({ experiment, kind, onClose }: Props) {
  const repos = useQuery({ queryKey: ['projects', 'all'], queryFn: ({ signal }) => data(api.GET('/v1/repos', { params: { query: { limit: 200 } }, signal })) })
  const [typed, setTyped] = useState(BEGIN)
  const [search, setSearch] = useState(BEGIN_SEARCH)
  const repo = typed.repo || repos.data?.items[0]?.repo_name || ''
  const { branches } = useBranches(repo || undefined)
  const branch = typed.branch || branches.find((one) => one.name !== 'main')?.name || branches[0]?.name || ''
  const ways = useQuery({ queryKey: ['runtimes', repo], queryFn: ({ signal }) => data(api.GET('/v1/runtimes', { params: { query: { repo_name: repo } }, signal })), enabled: repo !== '' })
  const sets = useQuery({ queryKey: ['datasets', 'offered'], queryFn: ({ signal }) => data(api.GET('/v1/datasets', { params: { query: { limit: 200 } }, signal })) })
  const runtime = typed.runtime || ways.data?.items[0]?.name || ''
  const dataset = typed.dataset || sets.data?.items[0]?.ref || ''
  const params = paramsOf(typed.params)
  const space = spaceOf(search.space)
  const wrong = typeof params === 'string' || branch === '' || dataset === '' || (kind === 'search' && typeof space === 'string')
  const cache = useQueryClient()
  const go = useNavigate()
  const submit = useMutation({
    mutationFn: () => {
      const body = { repo_name: repo, branch, command: typed.command, code_sha: typed.code.trim() || branch, dataset_ref: dataset, runtime, profile: typed.profile, name: typed.name.trim() || null, params: typeof params === 'string' ? {} : params }
      const path = { path: { id: experiment } }
      if (kind === 'run') return data(api.POST('/v1/experiments/{id}/runs', { params: path, body }))
      return data(api.POST('/v1/experiments/{id}/sweeps', { params: path, body: { ...body, ...asked(search), space: typeof space === 'string' ? {} : space } }))
    },
    onSuccess: async (made) => {
      await cache.invalidateQueries({ queryKey: ['experiments'] })
      await go({ to: '/experiment-runs/$id', params: { id: made.id } })
    },
  })
  const field = (name: keyof typeof typed) => ({ value: typed[name], onChange: (value: string) => setTyped({ ...typed, [name]: value }) })
  const some = (items: readonly { name: string }[] | undefined) => (items ?? []).map((one) => [one.name, harmless(one.name)] as const)
  const none = sets.data?.items.length === 0
  return (
    <Dialog open onClose={onClose} title={kind === 'run' ? 'Run a command' : 'Search for the best params'} actions={<Button look="main" type="submit" form="submit" busy={submit.isPending} disabled={wrong}>{kind === 'run' ? 'Run it' : 'Begin the search'}</Button>}>
      <form id="submit" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); submit.mutate() }}>
        <TextArea label="Command" required rows={1} className="font-mono" {...field('command')} hint="It finds each param as $PARAM_name, and logs metrics with `import builderos`." />
        {kind === 'search' && <Searched typed={search} wrong={search.space !== '' && typeof space === 'string' ? space : undefined} onChange={(change) => setSearch({ ...search, ...change })} />}
        <TextArea label={kind === 'run' ? 'Params, one in a line' : 'Params that are the same in all trials, one in a line'} rows={2} placeholder={'lr=0.01\nlayers=3'} className="font-mono" error={typeof params === 'string' ? params : undefined} {...field('params')} />
        <div className="grid gap-3 sm:grid-cols-2">
          <Select label="Repository" value={repo} onChange={(value) => setTyped({ ...typed, repo: value, branch: '' })} options={(repos.data?.items ?? []).map((one) => [one.repo_name, harmless(one.repo_name)] as const)} />
          <Select label="Branch" value={branch} onChange={(value) => setTyped({ ...typed, branch: value })} options={some(branches)} />
          <Select label="Dataset" value={dataset} onChange={(value) => setTyped({ ...typed, dataset: value })} options={(sets.data?.items ?? []).map((one) => [one.ref, harmless(one.ref)] as const)} />
          <TextField label="Commit" placeholder="where the branch stands" {...field('code')} />
          <Select label="Runtime" value={runtime} onChange={(value) => setTyped({ ...typed, runtime: value })} options={some(ways.data?.items)} />
          <Select label="Profile" value={typed.profile} onChange={(value) => setTyped({ ...typed, profile: value })} options={[['', 'The first approved one'], ...some(ways.data?.profiles)]} />
        </div>
        {none && <Note>Register a dataset first: what a run read is written down with it.</Note>}
        <TextField label="What it is called" {...field('name')} />
      </form>
      {submit.isError && <ProblemNote error={submit.error} />}
    </Dialog>
  )
}

type Search = typeof BEGIN_SEARCH

/** What was typed of a search, as the server wants it. */
const asked = (search: Search) => ({
  goal: { metric: search.metric.trim(), mode: search.mode === 'min' ? ('min' as const) : ('max' as const) },
  method: search.method === 'random' ? ('random' as const) : ('grid' as const),
  trials: search.method === 'random' ? Number(search.trials) : null,
  parallel: Number(search.parallel),
  stop: search.stop === 'never' ? null : { rule: search.stop === 'halving' ? ('halving' as const) : ('median' as const) },
})

function Searched({ typed, wrong, onChange }: { typed: Search; wrong: string | undefined; onChange: (change: Partial<Search>) => void }) {
  const field = (name: keyof Search) => ({ value: typed[name], onChange: (value: string) => onChange({ [name]: value }) })
  return (
    <>
      <TextArea label="Params that are searched, one in a line" required rows={3} placeholder={'depth = 2, 3, 5\nlr = 0.001 .. 0.1 log'} className="font-mono" error={wrong} hint="Values with commas, or a span of numbers; a span may end with log, whole, or step 0.1." {...field('space')} />
      <div className="grid gap-3 sm:grid-cols-2">
        <TextField label="Metric" required placeholder="accuracy" {...field('metric')} />
        <Select label="The best is" options={[['max', 'the greatest'], ['min', 'the least']]} {...field('mode')} />
        <Select label="Which trials" options={[['grid', 'All combinations'], ['random', 'Some, by chance']]} {...field('method')} />
        {typed.method === 'random' && <TextField label="How many trials" type="number" min={1} max={256} required {...field('trials')} />}
        <TextField label="At once" type="number" min={1} max={64} required {...field('parallel')} />
      </div>
      <Select label="When a trial is given up" options={STOPS} {...field('stop')} />
    </>
  )
}
