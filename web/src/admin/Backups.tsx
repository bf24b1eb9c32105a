import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useNavigate } from '@tanstack/react-router'
import { useBranches } from '../api/branches'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { Button } from '../ui/Button'
import { Confirm } from '../ui/Confirm'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { Select, TextField } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'
import { toast } from '../ui/toasts'
import { Waiting } from '../ui/Waiting'
import { adminRoute } from './route'

type Backup = Schemas['BackupLine']

/** Backups of one branch: make one, bring one back. */
export function Backups() {
  const search = adminRoute.useSearch()
  const go = useNavigate()
  const repos = useQuery({ queryKey: ['projects', 'all'], queryFn: ({ signal }) => data(api.GET('/v1/repos', { params: { query: { limit: 200 } }, signal })) })
  const branch = search.branch ?? 'main'
  const [typed, setTyped] = useState(branch)
  const repo = search.repo ?? repos.data?.items[0]?.repo_name
  const { branches } = useBranches(repo)
  const send = (event: FormEvent) => {
    event.preventDefault()
    void go({ to: '/admin', search: { tab: 'backups', repo, branch: typed.trim() || undefined } })
  }
  if (repos.isPending) return <Waiting />
  if (repos.isError) return <ProblemNote error={repos.error} again={() => void repos.refetch()} />
  if (!repo) {
    return (
      <div className="flex flex-col items-start gap-3">
        <EmptyState title="There is no repository yet." command="builderos init <folder>" />
        <CopyAs call={{ cli: 'builderos repo list', method: 'GET', path: '/v1/repos', mcp: { name: 'listRepos', arguments: {} } }} />
      </div>
    )
  }
  return (
    <div className="flex flex-col gap-4">
      <form role="search" onSubmit={send} className="flex flex-wrap items-end gap-3">
        <div className="w-56">
          <Select label="Repository" value={repo} onChange={(value) => void go({ to: '/admin', search: { ...search, tab: 'backups', repo: value } })} options={repos.data.items.map((one) => [one.repo_name, one.repo_name] as const)} />
        </div>
        <div className="w-56">
          <TextField label="Branch" value={typed} onChange={setTyped} list="branches" />
          <datalist id="branches">
            {branches.map((one) => (
              <option key={one.id} value={one.name} />
            ))}
          </datalist>
        </div>
        <Button type="submit" icon="search">Show</Button>
      </form>
      <Of key={`${repo} ${branch}`} repo={repo} branch={branch} id={branches.find((one) => one.name === branch)?.id} />
    </div>
  )
}

function Of({ repo, branch, id }: { repo: string; branch: string; id: string | undefined }) {
  const cache = useQueryClient()
  const may = useMay(id)
  const [asked, setAsked] = useState<Backup | null>(null)
  const where = { repo_name: repo, branch }
  const key = ['sandboxes', 'backups', where]
  const make = useMutation({
    mutationFn: () => data(api.POST('/system/backup', { body: { ...where, scope: 'branch' } })),
    onSuccess: async (said) => {
      toast(said.message)
      await cache.invalidateQueries({ queryKey: key })
    },
  })
  return (
    <>
      {may('backup.create') && (
        <div>
          <Button icon="plus" busy={make.isPending} onClick={() => make.mutate()}>Back up {harmless(branch)} now</Button>
        </div>
      )}
      {make.isError && <ProblemNote error={make.error} />}
      <Listing
        label="Backups"
        queryKey={key}
        read={(cursor, signal) => data(api.POST('/system/backup/list', { body: { ...where, limit: 100, cursor }, signal }))}
        keyOf={(one) => one.backup_id}
        empty={`There is no backup of ${harmless(branch)}.`}
        command={`builderos backup create --repo ${repo} --branch ${branch}`}
        call={{ cli: `builderos backup list --repo ${repo} --branch ${branch}`, method: 'POST', path: '/system/backup/list', body: where, mcp: { name: 'listBackups', arguments: where } }}
        columns={[
          { id: 'at', title: 'When', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
          { id: 'kind', title: 'Kind', width: '8rem', cell: (one) => one.kind },
          { id: 'scope', title: 'Of', width: '8rem', cell: (one) => (one.scope === 'branch' ? 'the whole branch' : 'key files') },
          { id: 'ref', title: 'Name', width: 'minmax(14rem, 1fr)', cell: (one) => <code>{one.ref}</code> },
          { id: 'commit', title: 'Commit', width: '8rem', cell: (one) => <code>{one.commit_sha.slice(0, 10)}</code> },
          ...(may('backup.restore') ? [{ id: 'acts', title: 'Acts', width: '9rem', cell: (one: Backup) => <Button small onClick={() => setAsked(one)}>Bring back</Button> }] : []),
        ]}
      />
      {asked && (
        <Confirm
          open
          title="Bring this backup back?"
          act="Bring it back"
          onClose={() => setAsked(null)}
          run={async () => {
            toast((await data(api.POST('/system/backup/{id}/restore', { params: { path: { id: asked.backup_id } }, body: where }))).message)
          }}
        >
          <p>It becomes a new commit on {harmless(branch)}: nothing is lost, and it can be undone.</p>
        </Confirm>
      )}
    </>
  )
}
