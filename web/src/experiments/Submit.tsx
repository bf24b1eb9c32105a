import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { useBranches } from '../api/branches'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Select, TextArea, TextField } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'

/** Have a command of a commit run here, with data and params that are written down. */
export function Submit({ experiment, onClose }: { experiment: string; onClose: () => void }) {
  const repos = useQuery({ queryKey: ['projects', 'all'], queryFn: ({ signal }) => data(api.GET('/v1/repos', { params: { query: { limit: 200 } }, signal })) })
  const [typed, setTyped] = useState({ repo: '', branch: '', command: 'python train.py', code: '', dataset: '', runtime: '', profile: '', name: '', params: '' })
  const repo = typed.repo || repos.data?.items[0]?.repo_name || ''
  const { branches } = useBranches(repo || undefined)
  const branch = typed.branch || branches.find((one) => one.name !== 'main')?.name || branches[0]?.name || ''
  const ways = useQuery({ queryKey: ['runtimes', repo], queryFn: ({ signal }) => data(api.GET('/v1/runtimes', { params: { query: { repo_name: repo } }, signal })), enabled: repo !== '' })
  const sets = useQuery({ queryKey: ['datasets', 'offered'], queryFn: ({ signal }) => data(api.GET('/v1/datasets', { params: { query: { limit: 200 } }, signal })) })
  const runtime = typed.runtime || ways.data?.items[0]?.name || ''
  const dataset = typed.dataset || sets.data?.items[0]?.ref || ''
  const params = paramsOf(typed.params)
  const cache = useQueryClient()
  const go = useNavigate()
  const submit = useMutation({
    mutationFn: () =>
      data(api.POST('/v1/experiments/{id}/runs', {
        params: { path: { id: experiment } },
        body: { repo_name: repo, branch, command: typed.command, code_sha: typed.code.trim() || branch, dataset_ref: dataset, runtime, profile: typed.profile, name: typed.name.trim() || null, params: typeof params === 'string' ? {} : params },
      })),
    onSuccess: async (made) => {
      await cache.invalidateQueries({ queryKey: ['experiments'] })
      await go({ to: '/experiment-runs/$id', params: { id: made.id } })
    },
  })
  const field = (name: keyof typeof typed) => ({ value: typed[name], onChange: (value: string) => setTyped({ ...typed, [name]: value }) })
  const some = (items: readonly { name: string }[] | undefined) => (items ?? []).map((one) => [one.name, harmless(one.name)] as const)
  return (
    <Dialog open onClose={onClose} title="Run a command" actions={<Button look="main" type="submit" form="submit" busy={submit.isPending} disabled={typeof params === 'string' || branch === '' || dataset === ''}>Run it</Button>}>
      <form id="submit" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); submit.mutate() }}>
        <Select label="Repository" value={repo} onChange={(value) => setTyped({ ...typed, repo: value, branch: '' })} options={(repos.data?.items ?? []).map((one) => [one.repo_name, harmless(one.repo_name)] as const)} />
        <Select label="Branch" value={branch} onChange={(value) => setTyped({ ...typed, branch: value })} options={some(branches)} />
        <TextArea label="Command" required className="font-mono" {...field('command')} />
        <TextField label="Commit" placeholder="where the branch stands" {...field('code')} />
        <Select label="Dataset" value={dataset} onChange={(value) => setTyped({ ...typed, dataset: value })} options={(sets.data?.items ?? []).map((one) => [one.ref, harmless(one.ref)] as const)} hint="The command finds its files." />
        {sets.data?.items.length === 0 && <Note>Register a dataset first: what a run read is written down with it.</Note>}
        <TextArea label="Params, one in a line" placeholder={'lr=0.01\nlayers=3'} className="font-mono" error={typeof params === 'string' ? params : undefined} {...field('params')} />
        <Select label="Runtime" value={runtime} onChange={(value) => setTyped({ ...typed, runtime: value })} options={some(ways.data?.items)} />
        <Select label="Profile" value={typed.profile} onChange={(value) => setTyped({ ...typed, profile: value })} options={[['', 'The first approved one'], ...some(ways.data?.profiles)]} />
        <TextField label="What it is called" {...field('name')} />
      </form>
      {submit.isError && <ProblemNote error={submit.error} />}
    </Dialog>
  )
}

/** `name=value` line by line; what reads as a number, true, false or null is one. In words, what is wrong otherwise. */
function paramsOf(text: string): Record<string, string | number | boolean | null> | string {
  const found: Record<string, string | number | boolean | null> = {}
  for (const line of text.split('\n').map((one) => one.trim()).filter(Boolean)) {
    const [, name, value] = /^([A-Za-z_]\w{0,99})\s*=\s*([\s\S]*)$/.exec(line) ?? []
    if (name === undefined || value === undefined) return `"${harmless(line).slice(0, 60)}" is no name=value.`
    found[name] = plainValue(value)
  }
  return found
}

function plainValue(text: string): string | number | boolean | null {
  if (text === 'true' || text === 'false') return text === 'true'
  if (text === 'null') return null
  return /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(text) && Number.isFinite(Number(text)) ? Number(text) : text
}
