import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useBranches } from '../api/branches'
import { api, data } from '../api/client'
import { useMay } from '../api/may'
import { EmptyState } from '../ui/EmptyState'
import { Select } from '../ui/Field'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { harmless, shownLine } from '../ui/plain'
import { Status } from '../ui/Status'
import { Table } from '../ui/Table'
import { Tabs, type Tab } from '../ui/Tabs'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { Backups, Commits, Facts, Tasks, type OfBranch } from './OfBranch'
import type { Part } from './route'

const route = getRouteApi('/projects')
const LABELS: Record<Part, string> = { workspaces: 'Workspaces', branches: 'Branches', commits: 'Commits', promotions: 'Promotions', tasks: 'Tasks', backups: 'Backups', memory: 'Memory' }
const BODIES: Partial<Record<Part, (of: OfBranch) => React.ReactNode>> = { commits: Commits, tasks: Tasks, backups: Backups, memory: Facts }

/** What there is in a project: its workspaces and branches, and what each branch has. */
export function Project({ repo }: { repo: string }) {
  const search = route.useSearch()
  const go = route.useNavigate()
  const may = useMay()
  const { repo: id, branches } = useBranches(repo)
  const part = search.part ?? (may('sandbox.list') ? 'workspaces' : 'branches')
  const branch = search.branch ?? 'main'
  const Body = BODIES[part]
  const tabs: Tab[] = (Object.keys(LABELS) as Part[]).filter((one) => one !== 'workspaces' || may('sandbox.list')).map((one) => ({ id: one, label: LABELS[one] }))
  const names = [...new Set([branch, ...branches.map((one) => one.name)])]
  return (
    <Tabs label={`Parts of ${harmless(repo)}`} tabs={tabs} value={part} onChange={(next) => void go({ search: (now) => ({ ...now, part: next as Part }) })}>
      {part === 'workspaces' && <Workspaces repo={repo} />}
      {part === 'branches' && id !== undefined && <Branches repo={repo} id={id} />}
      {part === 'promotions' && <Promotions repo={repo} />}
      {Body && (
        <div className="flex flex-col gap-3">
          <div className="max-w-sm">
            <Select label="Branch" value={branch} onChange={(next) => void go({ search: (now) => ({ ...now, branch: next }) })} options={names.map((name) => [name, harmless(name)] as const)} />
          </div>
          <Body key={branch} repo={repo} branch={branch} id={branches.find((one) => one.name === branch)?.id} />
        </div>
      )}
    </Tabs>
  )
}

function Workspaces({ repo }: { repo: string }) {
  return (
    <Listing
      label={`Workspaces of ${repo}`}
      queryKey={['sandboxes', { repo }]}
      read={(cursor, signal) => data(api.GET('/v1/sandboxes', { params: { query: { repo_name: repo, limit: 100, cursor } }, signal }))}
      keyOf={(one) => one.id}
      empty="Nobody has a workspace here yet."
      command={`builderos sandbox create --repo ${repo}`}
      columns={[
        {
          id: 'branch',
          title: 'Workspace',
          width: 'minmax(14rem, 2fr)',
          cell: (one) => (
            <Link to="/workspace" search={{ part: 'history', repo, branch: one.branch }} className="font-medium text-accent underline">
              {harmless(one.branch)}
            </Link>
          ),
        },
        { id: 'state', title: 'State', width: '8rem', cell: (one) => <Status of={one.state} /> },
        { id: 'active', title: 'Last used', width: '9rem', cell: (one) => <Time at={one.last_active_at} /> },
        { id: 'created', title: 'Opened', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
      ]}
    />
  )
}

function Branches({ repo, id }: { repo: string; id: string }) {
  const found = useQuery({ queryKey: ['projects', 'repo', id], queryFn: ({ signal }) => data(api.GET('/v1/repos/{id}', { params: { path: { id } }, signal })) })
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} again={() => void found.refetch()} />
  return (
    <Table
      label={`Branches of ${repo}`}
      rows={found.data.branches}
      keyOf={(one) => one.id}
      columns={[
        {
          id: 'name',
          title: 'Branch',
          width: 'minmax(12rem, 2fr)',
          cell: (one) => (
            <Link to="/projects" search={{ repo, part: 'commits', branch: one.name }} className="font-medium text-accent underline">
              {harmless(one.name)}
            </Link>
          ),
        },
        { id: 'kind', title: 'Kind', width: '9rem', cell: (one) => one.kind.replaceAll('_', ' ') },
        { id: 'state', title: 'State', width: '8rem', cell: (one) => <Status of={one.state} /> },
        { id: 'head', title: 'Stands at', width: '8rem', cell: (one) => <code className="font-mono">{one.head_sha.slice(0, 10)}</code> },
        {
          id: 'why',
          title: 'Files',
          width: '9rem',
          cell: (one) => (
            <Link to="/why" search={{ repo, branch: one.name, path: 'README.md' }} className="text-accent underline">
              Who wrote it
            </Link>
          ),
        },
      ]}
    />
  )
}

function Promotions({ repo }: { repo: string }) {
  const may = useMay()
  if (!may('pull.list')) return <EmptyState title="You may not see promotions here." />
  return (
    <Listing
      label={`Promotions of ${repo}`}
      queryKey={['pulls', { repo }]}
      read={(cursor, signal) => data(api.GET('/v1/pulls', { params: { query: { repo_name: repo, limit: 100, cursor } }, signal }))}
      keyOf={(one) => one.id}
      empty="Nobody has asked for anything to be taken in."
      command="builderos promote --title 'What it brings'"
      columns={[
        { id: 'title', title: 'What it brings', width: 'minmax(14rem, 2fr)', cell: (one) => shownLine(one.title, 200) },
        { id: 'from', title: 'From', width: '12rem', cell: (one) => <bdi>{harmless(one.branch)}</bdi> },
        { id: 'to', title: 'Into', width: '7rem', cell: (one) => harmless(one.target) },
        { id: 'state', title: 'State', width: '8rem', cell: (one) => <Status of={one.state} /> },
        { id: 'at', title: 'Asked', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
        {
          id: 'approval',
          title: 'Decision',
          width: '8rem',
          cell: (one) =>
            one.approval_id && (
              <Link to="/approvals" search={{ id: one.approval_id }} className="text-accent underline">
                Its approval
              </Link>
            ),
        },
      ]}
    />
  )
}
