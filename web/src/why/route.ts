import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

/** A line of a file of a branch; the caller's own branch where none is named. */
export interface WhySearch {
  repo?: string
  branch?: string
  path?: string
  line?: number
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value.slice(0, 4096) : undefined)

function place(search: Record<string, unknown>): WhySearch {
  const line = Number(search.line)
  const found = { repo: text(search.repo), branch: text(search.branch), path: text(search.path), line: Number.isInteger(line) && line > 0 ? line : undefined }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined)) as WhySearch
}

export const whyRoute = createRoute({ getParentRoute: () => rootRoute, path: '/why', validateSearch: place }).lazy(() => import('./Why').then((page) => page.Route))
