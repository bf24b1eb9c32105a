import { useMutation, useQueryClient } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { bytes } from '../runs/ArtifactsTab'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { Dialog } from '../ui/Dialog'
import { Select, TextArea, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'

export const Route = createLazyRoute('/datasets')({ component: Datasets })

function Datasets() {
  const go = useNavigate()
  const may = useMay()
  const [making, setMaking] = useState(false)
  return (
    <Page
      title="Datasets"
      below="Data by name and version: a version is its content, and never changes."
      actions={
        <>
          <CopyAs call={{ cli: 'builderos dataset list', method: 'GET', path: '/v1/datasets', mcp: { name: 'listDatasets', arguments: {} } }} />
          {may('dataset.write') && <Button look="main" icon="plus" onClick={() => setMaking(true)}>Register a version</Button>}
        </>
      }
    >
      <Listing
        label="Datasets"
        queryKey={['datasets']}
        read={(cursor, signal) => data(api.GET('/v1/datasets', { params: { query: { limit: 100, cursor } }, signal }))}
        keyOf={(one) => one.id}
        onOpen={(one) => void go({ to: '/datasets/$id', params: { id: one.id } })}
        empty="No dataset is registered yet."
        command="builderos dataset register iris --path data/iris.csv"
        columns={[
          { id: 'name', title: 'Dataset', width: 'minmax(12rem, 2fr)', cell: (one) => <Link to="/datasets/$id" params={{ id: one.id }} className="font-medium text-accent underline"><bdi>{harmless(one.name)}</bdi></Link> },
          { id: 'version', title: 'Newest', width: '6rem', align: 'right', cell: (one) => one.version },
          { id: 'kind', title: 'Kind', width: '6rem', cell: (one) => one.kind },
          { id: 'files', title: 'Files', width: '6rem', align: 'right', cell: (one) => one.count.toLocaleString('en') },
          { id: 'size', title: 'Size', width: '7rem', align: 'right', cell: (one) => bytes(one.size) },
          { id: 'about', title: 'About', width: 'minmax(12rem, 2fr)', cell: (one) => <bdi>{harmless(one.description.slice(0, 200))}</bdi> },
          { id: 'made', title: 'Registered', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
        ]}
      />
      {making && <Register onClose={() => setMaking(false)} />}
    </Page>
  )
}

type From = 'branch' | 'run' | 'url' | 'artifacts'

/** The next version of a dataset, from wherever its files are. */
function Register({ onClose }: { onClose: () => void }) {
  const [from, setFrom] = useState<From>('branch')
  const [typed, setTyped] = useState({ name: '', description: '', repo: '', branch: '', paths: '', run: '', url: '', artifacts: '' })
  const cache = useQueryClient()
  const go = useNavigate()
  const lines = (text: string): string[] => text.split('\n').map((line) => line.trim()).filter(Boolean)
  const register = useMutation({
    mutationFn: () => {
      const place = { repo_name: typed.repo.trim() || null, branch: typed.branch.trim() || null }
      const source = { branch: { ...place, paths: lines(typed.paths) }, run: { run_id: typed.run.trim(), paths: lines(typed.paths) }, url: { ...place, url: typed.url.trim() }, artifacts: { artifacts: lines(typed.artifacts) } }[from]
      return data(api.POST('/v1/datasets', { body: { name: typed.name.trim(), description: typed.description, ...source } }))
    },
    onSuccess: async (made) => {
      await cache.invalidateQueries({ queryKey: ['datasets'] })
      await go({ to: '/datasets/$id', params: { id: made.id } })
    },
  })
  const field = (name: keyof typeof typed) => ({ value: typed[name], onChange: (value: string) => setTyped({ ...typed, [name]: value }) })
  return (
    <Dialog open onClose={onClose} title="Register a version" actions={<Button look="main" type="submit" form="dataset" busy={register.isPending}>Register it</Button>}>
      <form id="dataset" className="flex flex-col gap-3" onSubmit={(event) => { event.preventDefault(); register.mutate() }}>
        <TextField label="Name" required pattern="[a-z0-9][a-z0-9_.\-]{0,99}" hint="Small letters, digits, . _ and -; the same content is the same version." {...field('name')} />
        <Select label="From" value={from} onChange={(value) => setFrom((['branch', 'run', 'url', 'artifacts'] as const).find((one) => one === value) ?? 'branch')} options={[['branch', 'Files of a branch'], ['run', 'What a run kept'], ['url', 'A file behind an address'], ['artifacts', 'Artifacts']]} />
        {(from === 'branch' || from === 'url') && <TextField label="Repository" {...field('repo')} />}
        {(from === 'branch' || from === 'url') && <TextField label="Branch" required={from === 'branch'} {...field('branch')} />}
        {from === 'run' && <TextField label="Run" required placeholder="run_…" {...field('run')} />}
        {(from === 'branch' || from === 'run') && <TextArea label="Files and folders, one in a line" required={from === 'branch'} {...field('paths')} />}
        {from === 'url' && <TextField label="Address" type="url" required hint="On a host that the policy of the repository lets you reach." {...field('url')} />}
        {from === 'artifacts' && <TextArea label="Ids of artifacts, one in a line" required {...field('artifacts')} />}
        <TextArea label="What it is, and whence" {...field('description')} />
      </form>
      {register.isError && <ProblemNote error={register.error} />}
    </Dialog>
  )
}
