import { useQuery } from '@tanstack/react-query'
import { api, data } from './client'

export interface Branch {
  id: string
  name: string
}

/** A repository and its branches that the caller may see: shared ones, and those of its newest workspaces. */
export function useBranches(repo: string | undefined): { repo: string | undefined; branches: readonly Branch[] } {
  const repos = useQuery({ queryKey: ['projects', 'all'], queryFn: ({ signal }) => data(api.GET('/v1/repos', { params: { query: { limit: 200 } }, signal })) })
  const id = repos.data?.items.find((one) => one.repo_name === repo)?.id
  const found = useQuery({
    queryKey: ['sandboxes', 'branches', id],
    enabled: id !== undefined,
    queryFn: async ({ signal }) => {
      const [shared, boxes] = await Promise.all([
        data(api.GET('/v1/repos/{id}', { params: { path: { id: id ?? '' } }, signal })),
        data(api.GET('/v1/sandboxes', { params: { query: { repo_name: repo ?? '', limit: 200 } }, signal })),
      ])
      // A workspace and its branch share the part of their ids that is not the kind.
      return [...shared.branches, ...boxes.items.map((box) => ({ id: box.id.replace('sbx_', 'br_'), name: box.branch }))]
    },
  })
  return { repo: id, branches: found.data ?? [] }
}
