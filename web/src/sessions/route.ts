import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

const word = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' && value.length <= 200 ? value : undefined)

export interface SessionsSearch {
  repo?: string | undefined
  branch?: string | undefined
}

export const sessionsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/sessions',
  validateSearch: (raw: Record<string, unknown>): SessionsSearch => ({ repo: word(raw.repo), branch: word(raw.branch) }),
}).lazy(() => import('./Sessions').then((page) => page.Route))

export const sessionRoute = createRoute({ getParentRoute: () => rootRoute, path: '/sessions/$id' }).lazy(() => import('./Session').then((page) => page.Route))
