import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

export const PARTS = ['files', 'history', 'tasks', 'publish'] as const
export type Part = (typeof PARTS)[number]

/** What is shown: a part, a folder or file in it; `repo` and `branch` where it is not the caller's own workspace. */
export interface Shown {
  part: Part
  folder?: string
  file?: string
  repo?: string
  branch?: string
}

/** The same workspace at another place: a folder, a file, or the top. */
export function at({ part, repo, branch }: Shown, place: Pick<Shown, 'folder' | 'file'>): Shown {
  return { part, ...(repo === undefined ? {} : { repo }), ...(branch === undefined ? {} : { branch }), ...place }
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

function shown(search: Record<string, unknown>): Shown {
  const part = PARTS.find((one) => one === search.part) ?? 'files'
  const rest = { folder: text(search.folder), file: text(search.file), repo: text(search.repo), branch: text(search.branch) }
  return { part, ...(Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)) as Partial<Shown>) }
}

export const workspaceRoute = createRoute({ getParentRoute: () => rootRoute, path: '/workspace', validateSearch: shown }).lazy(() =>
  import('./Workspace').then((page) => page.Route),
)
