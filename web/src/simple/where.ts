import { useQuery } from '@tanstack/react-query'
import { getRouteApi } from '@tanstack/react-router'
import { api, data, type Schemas } from '../api/client'

const route = getRouteApi('/workspace')

/** Names of the branch that is shown, as the API takes them; empty for the caller's own workspace. */
export interface Where {
  repo_name?: string
  branch?: string
}

export function useWhere(): Where {
  const { repo, branch } = route.useSearch()
  return { ...(repo === undefined ? {} : { repo_name: repo }), ...(branch === undefined ? {} : { branch }) }
}

export type Change = Schemas['CommitLine']

export interface Past {
  repo: string
  branch: string
  changes: Change[]
  /** Whether there are earlier ones that were not read. */
  more: boolean
  /** Commit where the workspace began, and where it stands. */
  began: string
  stands: string
  /** How it differs from its beginning. */
  files: Schemas['DiffFile'][]
}

const PAGE = 100
const MOST = 1000

/** Everything that was done in this workspace, newest first: the commits behind its beginning are not its own. */
export function usePast() {
  const where = useWhere()
  return useQuery({
    queryKey: ['commits', where],
    queryFn: async ({ signal }): Promise<Past> => {
      const diff = await data(api.POST('/git/diff', { body: where, signal }))
      const changes: Change[] = []
      let cursor: string | null = null
      do {
        const page: Schemas['LogOut'] = await data(api.POST('/git/log', { body: { ...where, limit: PAGE, cursor }, signal }))
        const end = page.items.findIndex((one) => one.sha === diff.from_sha)
        // What was published lies behind the beginning; it is still the workspace's own.
        changes.push(...(end < 0 ? page.items : page.items.filter((one, at) => at < end || one.committed_by === diff.branch)))
        cursor = end < 0 ? page.next_cursor : null
      } while (cursor !== null && changes.length < MOST)
      return { repo: diff.repo_name, branch: diff.branch, changes, more: cursor !== null, began: diff.from_sha, stands: diff.to_sha, files: diff.files }
    },
  })
}

/** First line of a message; trailers and reasons are the record's. */
export const headline = (message: string): string => message.split('\n', 1)[0] ?? ''

/** The commit that an undo undid. */
export function undone(change: Change): string | null {
  return change.tool?.startsWith('rollback@') ? (/^Reverts ([0-9a-f]{40})/m.exec(change.message)?.[1] ?? null) : null
}

/** Why something was undone, as its message says. */
export const reasonOf = (change: Change): string => /^Reason: (.*)$/m.exec(change.message)?.[1] ?? ''
