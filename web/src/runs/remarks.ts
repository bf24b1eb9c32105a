import { useMutation, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { api, data, type Schemas } from '../api/client'
import { cache } from '../api/query'
import type { DiffPlace } from '../ui/DiffReview'
import { toast } from '../ui/toasts'

export interface Draft extends DiffPlace {
  body: string
  /** The line as it stood. */
  snippet: string
}

const MOST = 100
const LONGEST = 500
const key = (id: string): string => `builderos.remarks.${id}`

function kept(id: string): Draft[] {
  try {
    return JSON.parse(sessionStorage.getItem(key(id)) ?? '[]') as Draft[]
  } catch {
    return []
  }
}

/** Words on lines of a run's difference: those that were said, and those that are written and not yet sent. */
export function useRemarks(id: string) {
  const [drafts, setDrafts] = useState<readonly Draft[]>(() => kept(id))
  const said = useQuery({ queryKey: ['run', id, 'comments'], queryFn: ({ signal }) => data(api.GET('/v1/runs/{id}/comments', { params: { path: { id }, query: { limit: 200 } }, signal })) })
  const put = (next: readonly Draft[]) => {
    setDrafts(next)
    sessionStorage.setItem(key(id), JSON.stringify(next)) // a reload or a sign-in loses nothing
  }
  const send = useMutation({
    mutationFn: () => data(api.POST('/v1/runs/{id}/comments', { params: { path: { id } }, body: { items: drafts.map((one) => ({ path: one.path, side: one.side, line: one.line, body: one.body, snippet: one.snippet })) } })),
    onSuccess: (reply) => {
      put([])
      toast(reply.message)
      void cache.invalidateQueries({ queryKey: ['run', id, 'comments'] })
    },
  })
  const items: readonly Schemas['Comment'][] = said.data?.items ?? []
  const on = (at: DiffPlace): number => [...items, ...drafts].filter((one) => one.path === at.path && one.side === at.side && one.line === at.line).length
  return { drafts, said: items, on, add: (at: DiffPlace, body: string, line: string) => put([...drafts, { ...at, body, snippet: line.slice(0, LONGEST) }].slice(-MOST)), drop: (n: number) => put(drafts.filter((_, at) => at !== n)), send }
}
