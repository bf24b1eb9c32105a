import { queryOptions, useInfiniteQuery, useQuery, type InfiniteData } from '@tanstack/react-query'
import { useCallback, useEffect, useMemo, useRef } from 'react'
import { api, data, type Schemas } from '../api/client'
import { useLive, type Item } from '../api/live'
import { cache } from '../api/query'

export type View = Schemas['RunView']
export type Step = Schemas['StepOut']
export type Gate = Schemas['Gate']

const PAGE = 200
const OVER = new Set(['succeeded', 'failed', 'denied', 'cancelled', 'timed_out'])
const ENDED = new Set([...OVER, 'cached', 'skipped'])
const CALM_MS = 400

export const isOver = (status: string): boolean => OVER.has(status)
export const hasEnded = (step: Step): boolean => ENDED.has(step.status)

const page = (id: string, cursor: string | null, signal: AbortSignal) =>
  data(api.GET('/v1/runs/{id}/view', { params: { path: { id }, query: cursor === null ? { limit: PAGE } : { limit: PAGE, cursor } }, signal }))

export const viewQuery = (id: string) => queryOptions({ queryKey: ['run', id, 'view'], queryFn: ({ signal }) => page(id, null, signal) })

interface RunPage {
  view: View | undefined
  steps: readonly Step[]
  error: unknown
  again: () => void
}

/**
 * A run with all of its steps. The first reply is shown at once, the further pages of a long run follow; events patch
 * what is shown, and what they do not carry is read again, at most a few times a second.
 */
export function useRun(id: string): RunPage {
  const first = useQuery(viewQuery(id))
  const cursor = first.data?.timeline.next_cursor ?? null
  const begun = useRef<string | null>(null)
  if (begun.current === null && cursor !== null) begun.current = cursor
  const more = useInfiniteQuery({
    queryKey: ['run', id, 'steps'],
    queryFn: ({ signal, pageParam }) => page(id, pageParam, signal).then((view) => view.timeline),
    initialPageParam: begun.current,
    getNextPageParam: (last) => last.next_cursor,
    enabled: cursor !== null,
    staleTime: Infinity,
  })
  const { hasNextPage, isFetching, fetchNextPage, isError } = more
  useEffect(() => {
    if (hasNextPage && !isFetching && !isError) void fetchNextPage()
  }, [hasNextPage, isFetching, isError, fetchNextPage])
  useLive(`run:${id}`, useEvents(id))
  const steps = useMemo(() => [...(first.data?.timeline.items ?? []), ...(more.data?.pages.flatMap((each) => each.items) ?? [])], [first.data, more.data])
  return { view: first.data, steps, error: first.error, again: () => void first.refetch() }
}

/** Takes events of a run into what was read of it. */
function useEvents(id: string): (item: Item) => void {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => () => clearTimeout(timer.current), [])
  return useCallback(
    (item: Item) => {
      patch(id, item)
      timer.current ??= setTimeout(
        () => {
          timer.current = undefined
          void cache.invalidateQueries({ queryKey: ['run', id], predicate: (query) => query.queryKey[2] !== 'steps' })
        },
        item.type === 'run.ended' ? 0 : CALM_MS,
      )
    },
    [id],
  )
}

type Told = { step_id?: string; status?: string; reason?: string | null; attempt?: number; next_at?: string }

function patch(id: string, item: Item): void {
  const told = (item.data ?? {}) as Told
  const view = cache.getQueryData(viewQuery(id).queryKey)
  if (!view || item.version <= view.last_event) return
  const of = told.step_id
  const change = (step: Step): Step => (step.id === of ? changed(step, item, told) : step)
  const known = of !== undefined && view.timeline.items.some((step) => step.id === of)
  cache.setQueryData(viewQuery(id).queryKey, {
    ...view,
    last_event: item.version,
    run: item.type.startsWith('run.') && told.status ? { ...view.run, status: told.status as View['run']['status'], reason: told.reason ?? view.run.reason, ended_at: item.type === 'run.ended' ? item.at : view.run.ended_at } : view.run,
    timeline: known ? { ...view.timeline, items: view.timeline.items.map(change) } : view.timeline,
  })
  if (of === undefined || known) return
  cache.setQueryData<InfiniteData<View['timeline']>>(['run', id, 'steps'], (was) => was && { ...was, pages: was.pages.map((each) => (each.items.some((step) => step.id === of) ? { ...each, items: each.items.map(change) } : each)) })
}

function changed(step: Step, item: Item, told: Told): Step {
  const status = (told.status ?? step.status) as Step['status']
  return {
    ...step,
    status,
    reason: told.reason ?? null,
    attempt: told.attempt ?? step.attempt,
    next_at: told.next_at ?? null,
    start: item.type === 'step.started' ? (step.start ?? item.at) : step.start,
    end: ENDED.has(status) ? item.at : null,
  }
}

/** How long something took, or takes already. */
export const took = (start: string | null, end: string | null, now: number): number => (start === null ? 0 : Math.max(0, (end === null ? now : Date.parse(end)) - Date.parse(start)))
