import { useMutation, useQuery } from '@tanstack/react-query'
import { createLazyRoute, getRouteApi, Link, useNavigate } from '@tanstack/react-router'
import { useBranches } from '../api/branches'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { BudgetMeters } from '../shell/BudgetMeters'
import { openWorkspace } from '../simple/open'
import { Button } from '../ui/Button'
import { Copy } from '../ui/Copy'
import { CopyAs } from '../ui/CopyAs'
import { Listing } from '../ui/Listing'
import { ProblemNote } from '../ui/Note'
import { Page, Section } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Time } from '../ui/Time'
import { Project } from './Project'

export const Route = createLazyRoute('/projects')({ component: Projects })

const route = getRouteApi('/projects')

/** Repositories, and what there is in the chosen one. */
function Projects() {
  const { repo } = route.useSearch()
  return (
    <Page
      title={repo === undefined ? 'Projects' : harmless(repo)}
      below={repo !== undefined && <Link to="/projects" className="text-accent underline">All projects</Link>}
      actions={
        <CopyAs
          call={
            repo === undefined
              ? { cli: 'builderos repo list', method: 'GET', path: '/v1/repos', mcp: { name: 'listRepos', arguments: {} } }
              : { cli: `builderos sandbox list --repo ${repo}`, method: 'GET', path: `/v1/sandboxes?${new URLSearchParams({ repo_name: repo }).toString()}`, mcp: { name: 'listSandboxes', arguments: { repo_name: repo } } }
          }
        />
      }
    >
      {repo === undefined ? (
        <Repositories />
      ) : (
        <>
          <Inside repo={repo} />
          <Budgets repo={repo} />
          <Project key={repo} repo={repo} />
        </>
      )}
    </Page>
  )
}

function Repositories() {
  return (
    <Listing
      label="Projects"
      queryKey={['projects', 'repos']}
      read={(cursor, signal) => data(api.GET('/v1/repos', { params: { query: { limit: 100, cursor } }, signal }))}
      keyOf={(one) => one.id}
      empty="There is no project yet."
      command="builderos repo import <folder or address> --name lab"
      columns={[
        { id: 'name', title: 'Project', width: 'minmax(12rem, 2fr)', cell: (one) => <Name repo={one} /> },
        { id: 'owner', title: 'Of', width: '10rem', cell: (one) => harmless(one.repo_owner) },
        { id: 'branch', title: 'Work begins at', width: '10rem', cell: (one) => harmless(one.base_branch) },
        { id: 'at', title: 'Since', width: '9rem', cell: (one) => <Time at={one.created_at} /> },
      ]}
    />
  )
}

function Name({ repo }: { repo: Schemas['RepoLine'] }) {
  return (
    <Link to="/projects" search={{ repo: repo.repo_name }} className="font-medium text-accent underline">
      {harmless(repo.repo_name)}
    </Link>
  )
}

/** What the project may use and how much of it is used up; nothing where that is not limited, or not to be seen. */
function Budgets({ repo }: { repo: string }) {
  const may = useMay()
  const found = useQuery({
    queryKey: ['budgets', { repo }],
    queryFn: ({ signal }) => data(api.GET('/v1/budgets', { params: { query: { repo_name: repo } }, signal })),
    enabled: may('usage.read'),
  })
  if (!found.data || found.data.items.length === 0) return null
  return <Section title="Budgets"><BudgetMeters items={found.data.items} ofProject /></Section>
}

/** A workspace of one's own, the files of main, and the link for somebody without an account. */
function Inside({ repo }: { repo: string }) {
  const go = useNavigate()
  const may = useMay()
  const mayHere = useMay(useBranches(repo).repo)
  const begin = useMutation({
    mutationFn: () => openWorkspace(repo, { force_new: true }),
    onSuccess: (opened) => go({ to: '/workspace', search: { part: 'files', repo, branch: opened.branch } }),
  })
  const invitation = `${location.origin}/?${new URLSearchParams({ repo }).toString()}`
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap items-center gap-2">
        {mayHere('sandbox.init') && (
          <Button look="main" busy={begin.isPending} onClick={() => begin.mutate()}>
            Start a workspace
          </Button>
        )}
        <Link to="/why" search={{ repo, branch: 'main', path: 'README.md' }} className="text-accent underline">
          Who wrote main
        </Link>
        {may('sandbox.list') && <Copy text={invitation} label="Copy a link for newcomers" small={false} />}
      </div>
      {begin.isError && <ProblemNote error={begin.error} />}
    </div>
  )
}
