import { useQuery } from '@tanstack/react-query'
import { createLazyRoute, getRouteApi } from '@tanstack/react-router'
import { useEffect, useMemo, useState, type KeyboardEvent } from 'react'
import { api, data } from '../api/client'
import { PlaceFields } from '../projects/PlaceFields'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { EmptyState } from '../ui/EmptyState'
import { Facts } from '../ui/Facts'
import { TextField } from '../ui/Field'
import { Note, ProblemNote } from '../ui/Note'
import { Page, Panel } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { useWindow } from '../ui/windowed'

export const Route = createLazyRoute('/why')({ component: Why })

const route = getRouteApi('/why')
const ROW_PX = 22

/** A file, and the story of the line that is pressed: who wrote it, with what, and who said yes. */
function Why() {
  const { repo, branch, path, line } = route.useSearch()
  const asked = new URLSearchParams({ ...(repo ? { repo_name: repo } : {}), ...(branch ? { branch } : {}), path: path ?? 'README.md', line: String(line ?? 1) })
  return (
    <Page
      title={path === undefined ? 'Why is this line here?' : harmless(path)}
      below={path !== undefined && `${repo ? `${harmless(repo)}, ` : ''}${harmless(branch ?? 'your workspace')}: press a line to see its story.`}
      actions={<CopyAs call={{ cli: `builderos why ${path ?? 'README.md'}:${line ?? 1}${branch ? ` --branch ${branch}` : ''}`, method: 'GET', path: `/v1/why?${asked.toString()}`, mcp: { name: 'explainLine', arguments: Object.fromEntries(asked) } }} />}
    >
      <Ask key={`${repo} ${branch} ${path}`} />
      {path === undefined ? (
        <EmptyState title="Name a file." command="builderos why README.md:1 --branch main" />
      ) : (
        <div className="grid gap-4 lg:grid-cols-[minmax(0,1.3fr)_minmax(0,1fr)]">
          <Lines path={path} />
          <div aria-live="polite">{line === undefined ? <Note>No line is chosen yet.</Note> : <Story path={path} line={line} />}</div>
        </div>
      )}
    </Page>
  )
}

const named = (repo: string | undefined, branch: string | undefined) => ({ ...(repo === undefined ? {} : { repo_name: repo }), ...(branch === undefined ? {} : { branch }) })

function Ask() {
  const search = route.useSearch()
  const go = route.useNavigate()
  const [repo, setRepo] = useState(search.repo ?? '')
  const [branch, setBranch] = useState(search.branch ?? '')
  const [path, setPath] = useState(search.path ?? '')
  return (
    <form
      aria-label="Which file"
      className="grid items-end gap-2 sm:grid-cols-[1fr_1fr_2fr_auto]"
      onSubmit={(event) => {
        event.preventDefault()
        void go({ search: { ...(repo ? { repo } : {}), ...(branch ? { branch } : {}), ...(path ? { path } : {}) } })
      }}
    >
      <PlaceFields word="Project" repo={repo} branch={branch} onRepo={setRepo} onBranch={setBranch} />
      <TextField label="File" value={path} onChange={setPath} required autoComplete="off" spellCheck={false} />
      <Button type="submit">Show</Button>
    </form>
  )
}

function Lines({ path }: { path: string }) {
  const { repo, branch, line } = route.useSearch()
  const go = route.useNavigate()
  const where = named(repo, branch)
  const file = useQuery({
    queryKey: ['commits', where, 'lines', path],
    queryFn: ({ signal }) => data(api.POST('/system/fetch_files', { body: { ...where, path }, signal })),
  })
  const found = file.data?.files[0]
  const lines = useMemo(() => (found?.encoding === 'utf-8' ? found.content.split('\n') : []), [found])
  const view = useWindow(lines.length, ROW_PX)
  const { show } = view
  useEffect(() => {
    if (line !== undefined) show(line - 1)
  }, [line, show])
  if (file.isPending) return <Waiting />
  if (file.isError) return <ProblemNote error={file.error} again={() => void file.refetch()} />
  if (!found) return <Note tone="warn">There is no file {harmless(path)} here.</Note>
  if (found.encoding !== 'utf-8') return <Note>This file is no text.</Note>
  const choose = (next: number) => void go({ search: (now) => ({ ...now, line: Math.max(1, Math.min(next, lines.length)) }), replace: true })
  const onKey = (event: KeyboardEvent) => {
    const to = { ArrowDown: (line ?? 0) + 1, ArrowUp: (line ?? 2) - 1, Home: 1, End: lines.length }[event.key]
    if (to === undefined) return
    event.preventDefault()
    choose(to)
  }
  return (
    <div>
      <div ref={view.frame} role="listbox" aria-label={`Lines of ${path}`} aria-activedescendant={line === undefined ? undefined : `line-${line}`} tabIndex={0} onKeyDown={onKey} className="h-[65vh] overflow-auto rounded-lg border border-line bg-panel font-mono text-sm">
        <div role="presentation" style={{ height: view.height }} className="relative w-max min-w-full">
          <div role="presentation" style={{ transform: `translateY(${view.shift}px)` }}>
            {lines.slice(view.from, view.to).map((text, at) => {
              const number = view.from + at + 1
              return (
                <div key={number} id={`line-${number}`} role="option" aria-selected={number === line} onClick={() => choose(number)} style={{ height: ROW_PX }} className="flex cursor-pointer whitespace-pre hover:bg-raised aria-selected:bg-raised aria-selected:font-semibold">
                  <span className="w-14 shrink-0 pr-3 text-right text-muted select-none">{number}</span>
                  <bdi>{shownLine(text) || ' '}</bdi>
                </div>
              )
            })}
          </div>
        </div>
      </div>
      {found.truncated && <p className="text-sm text-muted">Only the beginning of a long file is shown.</p>}
    </div>
  )
}

function Story({ path, line }: { path: string; line: number }) {
  const { repo, branch } = route.useSearch()
  const where = named(repo, branch)
  const why = useQuery({
    queryKey: ['commits', where, 'why', path, line],
    queryFn: ({ signal }) => data(api.GET('/v1/why', { params: { query: { ...where, path, line } }, signal })),
  })
  if (why.isPending) return <Waiting what="Looking it up" />
  if (why.isError) return <ProblemNote error={why.error} again={() => void why.refetch()} />
  const { commit, story, promotions } = why.data
  return (
    <Panel className="flex flex-col gap-4 p-4">
      <ol aria-label="Its story" className="flex list-decimal flex-col gap-1.5 pl-5">
        {story.map((sentence) => (
          <li key={sentence}>{shownLine(sentence, 600)}</li>
        ))}
      </ol>
      <Facts
        label="The commit"
        of={[
          ['Commit', <code key="sha">{commit.sha}</code>],
          ['Says', shownLine(commit.message.split('\n', 1)[0] ?? '', 300)],
          ['By', commit.author],
          ['Model or agent', commit.agent_version],
          ['Prompt', commit.prompt_version],
          ['Task', commit.task_id],
          ['Run', commit.run_id],
          ['When', <Time key="at" at={commit.at} />],
          ['Came by', promotions.map((one) => `${one.title} (${one.source} → ${one.target})`).join(', ')],
        ]}
      />
    </Panel>
  )
}
