import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { createLazyRoute, Link, useNavigate } from '@tanstack/react-router'
import { useMemo } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useCommands } from '../shell/commands'
import { Button } from '../ui/Button'
import { CopyAs } from '../ui/CopyAs'
import { DiffReview } from '../ui/DiffReview'
import { filesOf } from '../ui/diffs'
import { EmptyState } from '../ui/EmptyState'
import { Icon } from '../ui/Icon'
import { ProblemNote } from '../ui/Note'
import { Page } from '../ui/Page'
import { harmless } from '../ui/plain'
import { Status } from '../ui/Status'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { Decision, approvalQuery } from './Decision'
import { Diff } from './Diff'
import { NotifyMe } from './NotifyMe'
import { approvalsRoute, STATES } from './route'
import { actWord } from './words'

export const Route = createLazyRoute('/approvals')({ component: Approvals })

type Summary = Schemas['ApprovalSummary']
const WORDS = { pending: 'Waiting', approved: 'Approved', denied: 'Denied', expired: 'Expired', cancelled: 'Cancelled' }

function Approvals() {
  const search = approvalsRoute.useSearch()
  const go = useNavigate()
  const state = search.state ?? 'pending'
  const list = useInfiniteQuery({
    queryKey: ['approvals', { state }],
    queryFn: ({ pageParam, signal }) => data(api.GET('/v1/approvals', { params: { query: { state, limit: 100, cursor: pageParam || null } }, signal })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  })
  const items = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data])
  const shown = search.id ?? items[0]?.id
  useCommands(
    useMemo(() => {
      const at = items.findIndex((one) => one.id === shown)
      const to = (step: number) => () => {
        const one = items[Math.max(0, Math.min(items.length - 1, at + step))]
        if (one) void go({ to: '/approvals', search: { ...search, id: one.id }, replace: true })
      }
      return [
        { id: 'next', label: 'Next approval', group: 'Decide', keys: 'j', run: to(1) },
        { id: 'previous', label: 'Previous approval', group: 'Decide', keys: 'k', run: to(-1) },
      ]
    }, [items, shown, go, search]),
  )
  return (
    <Page title="Approvals" below="What waits for a yes or a no, with exactly what would happen." actions={
        <>
          <NotifyMe />
          <CopyAs call={{ cli: `builderos approvals --state ${state}`, method: 'GET', path: `/v1/approvals?state=${state}`, mcp: { name: 'listApprovals', arguments: { state } } }} />
        </>
      }
    >
      <nav aria-label="Which approvals" className="flex flex-wrap gap-1">
        {STATES.map((each) => (
          <Link
            key={each}
            to="/approvals"
            search={{ state: each === 'pending' ? undefined : each }}
            aria-current={each === state ? 'true' : undefined}
            className={`rounded-full border px-3 py-0.5 text-sm ${each === state ? 'border-accent font-medium text-accent' : 'border-line text-muted hover:text-text'}`}
          >
            {WORDS[each]}
          </Link>
        ))}
      </nav>
      {list.isPending ? (
        <Waiting />
      ) : list.isError ? (
        <ProblemNote error={list.error} again={() => void list.refetch()} />
      ) : (
        <div className="grid min-w-0 gap-4 lg:grid-cols-[20rem_minmax(0,1fr)]">
          {items.length === 0 && !search.id && <EmptyState title={state === 'pending' ? 'Nothing waits for a decision.' : `No approval is ${state}.`} command="builderos approvals" />}
          {items.length > 0 && (
            <div className={`flex flex-col gap-2 ${search.id ? 'max-lg:hidden' : ''}`}>
              <Listed items={items} shown={shown} search={search} />
              {list.hasNextPage && (
                <Button busy={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
                  Show more
                </Button>
              )}
            </div>
          )}
          {shown && <One key={shown} id={shown} back={search.id !== undefined} />}
        </div>
      )}
    </Page>
  )
}

function Listed({ items, shown, search }: { items: readonly Summary[]; shown: string | undefined; search: ReturnType<typeof approvalsRoute.useSearch> }) {
  return (
    <ul aria-label="Approvals" className="flex max-h-[75vh] flex-col gap-1 overflow-y-auto">
      {items.map((one) => (
        <li key={one.id}>
          <Link
            to="/approvals"
            search={{ ...search, id: one.id }}
            replace
            aria-current={one.id === shown ? 'true' : undefined}
            className={`flex flex-col gap-0.5 rounded-md border px-3 py-2 hover:bg-raised ${one.id === shown ? 'border-accent bg-raised' : 'border-transparent'}`}
          >
            <span className="line-clamp-2 font-medium">{harmless(one.reason) || actWord(one.action)}</span>
            <span className="flex flex-wrap items-center gap-x-3 text-sm text-muted">
              <Status of={one.risk} />
              <span>{actWord(one.action)}</span>
              <Time at={one.created_at} />
            </span>
          </Link>
        </li>
      ))}
    </ul>
  )
}

/** One approval: the decision, and below it the diff, always. */
function One({ id, back }: { id: string; back: boolean }) {
  const found = useQuery(approvalQuery(id))
  return (
    <article aria-label="Approval" className={`flex min-w-0 flex-col gap-4 ${back ? '' : 'max-lg:hidden'}`}>
      <Link to="/approvals" className="flex items-center gap-1 text-accent lg:hidden">
        <Icon name="back" /> All approvals
      </Link>
      <Decision id={id} />
      {found.data && <Stat approval={found.data} />}
      {found.data && <Changes text={found.data.diff} />}
    </article>
  )
}

/** A unified diff file by file; what an action has instead, as it is. */
function Changes({ text }: { text: string }) {
  const files = useMemo(() => filesOf(text), [text])
  return files.length > 0 ? <DiffReview label="Diff" files={files} className="h-[65vh]" /> : <Diff text={text} />
}

function Stat({ approval }: { approval: { diff_stat: Record<string, unknown>; run_id: string | null; link: string } }) {
  const { files, added, deleted } = approval.diff_stat
  const run: string = `/runs/${approval.run_id ?? ''}`
  return (
    <p className="flex flex-wrap gap-x-4 text-sm text-muted">
      {typeof files === 'number' && <span>{files === 1 ? '1 file' : `${files} files`}</span>}
      {typeof added === 'number' && <span className="text-good">+{added} lines</span>}
      {typeof deleted === 'number' && <span className="text-bad">−{deleted} lines</span>}
      {approval.run_id && (
        <Link to={run} className="text-accent underline">
          The run
        </Link>
      )}
    </p>
  )
}
