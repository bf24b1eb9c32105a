import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { useBranches } from '../api/branches'
import { api, data } from '../api/client'
import { Button } from '../ui/Button'
import { Dialog } from '../ui/Dialog'
import { Select, TextField } from '../ui/Field'
import { namesOf } from '../ui/names'
import { Note, ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'

const MINUTE_S = 60
const WHAT = { jupyter: { kind: 'notebook', editor: 'jupyter' }, marimo: { kind: 'notebook', editor: 'marimo' }, shell: { kind: 'shell' } } as const

/** Start a notebook or a shell on a branch. */
export function Start({ repo, branch, onClose }: { repo: string; branch: string; onClose: () => void }) {
  const repos = useQuery({ queryKey: ['projects', 'all'], queryFn: ({ signal }) => data(api.GET('/v1/repos', { params: { query: { limit: 200 } }, signal })) })
  const [where, setWhere] = useState({ repo, branch })
  const name = where.repo || repos.data?.items[0]?.repo_name || ''
  const { branches } = useBranches(name || undefined)
  const offered = branches.filter((one) => one.name !== 'main')
  const there = where.branch || offered[0]?.name || ''
  const ways = useQuery({ queryKey: ['runtimes', name], queryFn: ({ signal }) => data(api.GET('/v1/runtimes', { params: { query: { repo_name: name } }, signal })), enabled: name !== '' })
  const [what, setWhat] = useState<keyof typeof WHAT>('jupyter')
  const [runtime, setRuntime] = useState('')
  const [profile, setProfile] = useState('')
  const [minutes, setMinutes] = useState('30')
  const [endpoints, setEndpoints] = useState('')
  const [models, setModels] = useState('')
  const cache = useQueryClient()
  const go = useNavigate()
  const start = useMutation({
    mutationFn: () => data(api.POST('/v1/sessions', { body: { repo_name: name, branch: there, ...WHAT[what], runtime, profile, idle_timeout: Math.max(1, Math.round(Number(minutes) * MINUTE_S)), endpoints: namesOf(endpoints), models: namesOf(models) } })),
    onSuccess: async (made) => {
      await cache.invalidateQueries({ queryKey: ['sessions'] })
      await go({ to: '/sessions/$id', params: { id: made.id } })
    },
  })
  const known = offered.some((one) => one.name === there) || there === '' ? offered : [{ id: there, name: there }, ...offered]
  return (
    <Dialog open onClose={onClose} title="Start a session" actions={<Button look="main" type="submit" form="session" busy={start.isPending} disabled={there === ''}>Start it</Button>}>
      <form id="session" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); start.mutate() }}>
        <Select label="What" value={what} onChange={(value) => setWhat(value === 'shell' || value === 'marimo' ? value : 'jupyter')} options={[['jupyter', 'A Jupyter notebook'], ['marimo', 'A marimo notebook'], ['shell', 'A shell']]} />
        <Select label="Repository" value={name} onChange={(value) => setWhere({ repo: value, branch: '' })} options={(repos.data?.items ?? []).map((one) => [one.repo_name, harmless(one.repo_name)] as const)} />
        <Select label="Branch" value={there} onChange={(value) => setWhere({ repo: name, branch: value })} options={known.map((one) => [one.name, harmless(one.name)] as const)} />
        {known.length === 0 && <Note>It has no branch to work on yet: make a sandbox first.</Note>}
        <Select label="Runtime" value={runtime} onChange={setRuntime} options={[['', 'The first approved one'], ...(ways.data?.items ?? []).map((one) => [one.name, `${harmless(one.name)}${one.provider === null ? ', which nothing runs now' : ''}`] as const)]} />
        <Select label="Profile" value={profile} onChange={setProfile} options={[['', 'The first approved one'], ...(ways.data?.profiles ?? []).map((one) => [one.name, harmless(one.name)] as const)]} />
        <TextField label="Minutes without work after which it stops" type="number" min={1} max={10_080} required value={minutes} onChange={setMinutes} />
        <TextField label="Endpoints that it may call, separated by commas" hint="It finds the way there in its variables." value={endpoints} onChange={setEndpoints} />
        <TextField label="Models that it may ask, separated by commas" value={models} onChange={setModels} />
      </form>
      {start.isError && <ProblemNote error={start.error} />}
    </Dialog>
  )
}
