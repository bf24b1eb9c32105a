import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

/** `repo`: the one whose workspaces are shown. */
export interface ProjectsSearch {
  repo?: string
}

export const projectsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/projects',
  validateSearch: (search: Record<string, unknown>): ProjectsSearch => (typeof search.repo === 'string' && search.repo !== '' ? { repo: search.repo.slice(0, 200) } : {}),
}).lazy(() => import('./Projects').then((page) => page.Route))
