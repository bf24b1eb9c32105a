import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useCallback, useMemo } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useMay } from '../api/may'
import { approvalQuery } from '../approvals/Decision'
import { Button, IconButton } from '../ui/Button'
import { DiffReview, type DiffPlace } from '../ui/DiffReview'
import { filesOf, linesOf, type FileDiff } from '../ui/diffs'
import { EmptyState } from '../ui/EmptyState'
import { ProblemNote } from '../ui/Note'
import { Panel } from '../ui/Page'
import { harmless, shownLine } from '../ui/plain'
import { Time } from '../ui/Time'
import { Waiting } from '../ui/Waiting'
import { useRemarks } from './remarks'
import type { Pane } from './Run'

const PAGE = 50

/** What waits for a yes, exactly; else what the run, or the chosen step, changed. */
export default function DiffTab(pane: Pane) {
  const asked = pane.view.gates?.find((gate) => gate.kind === 'approval' && gate.state === 'waiting' && (!pane.step || gate.step_id === pane.step.id))
  const remarks = useRemarks(pane.id)
  const may = useMay(pane.id)('run.answer')
  const shared = { pane, remarks, may }
  return (
    <div className="flex flex-col gap-3">
      {asked?.approval_id ? <Asked id={asked.approval_id} {...shared} /> : <Changed {...shared} />}
      <Remarks remarks={remarks} may={may} onPlace={(at) => pane.put({ file: at.path, line: at.line, side: at.side === 'old' ? 'old' : undefined })} />
    </div>
  )
}

interface Shared {
  pane: Pane
  remarks: ReturnType<typeof useRemarks>
  may: boolean
}

function Asked({ id, ...shared }: { id: string } & Shared) {
  const found = useQuery(approvalQuery(id))
  const text = found.data?.diff ?? ''
  const files = useMemo(() => filesOf(text), [text])
  if (found.isPending) return <Waiting />
  if (found.isError) return <ProblemNote error={found.error} />
  if (files.length === 0) return <EmptyState title="What waits for a yes changes no file." />
  return <Review label="What waits for a yes" files={files} total={files.length} {...shared} />
}

function Changed({ pane, ...rest }: Shared) {
  const { id, step, view } = pane
  const list = useInfiniteQuery({
    queryKey: ['run', id, 'diff', step?.id ?? '', step ? (step.output_tree ?? '') : (view.diff?.result_tree ?? '')],
    queryFn: ({ signal, pageParam }) => data(api.GET('/v1/runs/{id}/diff', { params: { path: { id }, query: { limit: PAGE, ...(step ? { step: step.id } : {}), ...(pageParam ? { cursor: pageParam } : {}) } }, signal })),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
    staleTime: Infinity, // of two trees, whose names are in the key
  })
  const files = useMemo(() => list.data?.pages.flatMap((page) => page.files.map(fileOf)) ?? [], [list.data])
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = list
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage()
  }, [hasNextPage, isFetchingNextPage, fetchNextPage])
  if (list.isPending) return <Waiting />
  if (list.isError) return <ProblemNote error={list.error} again={() => void list.refetch()} />
  if (files.length === 0) return <EmptyState title={step ? 'This step changed no file.' : 'Nothing was changed.'} command={view.run.branch ? `builderos diff --branch ${view.run.branch}` : undefined} />
  return <Review label="Difference" files={files} total={list.data.pages[0]?.files_total ?? files.length} onEnd={more} pane={pane} {...rest} />
}

function fileOf(file: Schemas['FileChange']): FileDiff {
  const note = file.binary ? 'Not a text, or too large to be shown here.' : file.truncated ? 'There is more of this file than is shown here.' : ''
  return { path: file.path, status: file.status, added: file.added, deleted: file.deleted, note, lines: linesOf(file.text) }
}

function Review({ label, files, total, onEnd, pane, remarks, may }: { label: string; files: readonly FileDiff[]; total: number; onEnd?: () => void } & Shared) {
  const { search, put } = pane
  return (
    <DiffReview
      label={label}
      files={files}
      total={total}
      {...(onEnd ? { onEnd } : {})}
      at={search.file !== undefined && search.line !== undefined ? { path: search.file, side: search.side ?? 'new', line: search.line } : null}
      onPlace={(at) => put({ file: at.path, line: at.line, side: at.side === 'old' ? 'old' : undefined })}
      {...(may ? { onRemark: remarks.add } : {})}
      remarksOn={remarks.on}
    />
  )
}

const SHOWN = 50

/** Words on lines: those to send go to the agent together. */
function Remarks({ remarks, may, onPlace }: { remarks: ReturnType<typeof useRemarks>; may: boolean; onPlace: (at: DiffPlace) => void }) {
  const { drafts, said, send } = remarks
  if (drafts.length === 0 && said.length === 0) return null
  return (
    <Panel className="p-3">
      <ul aria-label="Comments" className="flex flex-col gap-1.5 text-sm">
        {said.slice(-SHOWN).map((one) => (
          <li key={one.id} className="flex flex-wrap gap-x-3">
            <Where at={{ path: one.path, side: one.side, line: one.line ?? 0 }} onPlace={onPlace} />
            <span className="min-w-0 break-words whitespace-pre-wrap">{shownLine(one.body, 4000)}</span>
            <span className="text-muted">
              {harmless(one.author_name)}, <Time at={one.said_at} />
              {one.told_at ? ', told to the agent' : ', waits for an agent'}
            </span>
          </li>
        ))}
        {drafts.map((one, n) => (
          <li key={`${one.path}:${one.line}:${one.body}`} className="flex flex-wrap items-center gap-x-3">
            <Where at={one} onPlace={onPlace} />
            <span className="min-w-0 break-words">{shownLine(one.body, 4000)}</span>
            <span className="text-warn">not sent</span>
            <IconButton icon="close" label="Drop this comment" className="size-6!" onClick={() => remarks.drop(n)} />
          </li>
        ))}
      </ul>
      {may && drafts.length > 0 && (
        <Button look="main" small className="mt-2" busy={send.isPending} onClick={() => send.mutate()}>
          {drafts.length === 1 ? 'Send the comment to the agent' : `Send ${drafts.length} comments to the agent`}
        </Button>
      )}
      {send.isError && <ProblemNote error={send.error} />}
    </Panel>
  )
}

function Where({ at, onPlace }: { at: DiffPlace; onPlace: (at: DiffPlace) => void }) {
  return (
    <button type="button" onClick={() => onPlace(at)} className="max-w-full truncate font-mono text-accent underline">
      <bdi>{shownLine(at.path, 120)}</bdi>:{at.line}
    </button>
  )
}
