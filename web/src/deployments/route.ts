import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

const word = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' && value.length <= 200 ? value : undefined)

export interface DeploymentsSearch {
  repo?: string | undefined
  branch?: string | undefined
  env?: string | undefined
}

export const deploymentsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/deployments',
  validateSearch: (search): DeploymentsSearch => ({ repo: word(search.repo), branch: word(search.branch), env: word(search.env) }),
}).lazy(() => import('./Deployments').then((page) => page.Route))

export const deploymentRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/deployments/$id',
}).lazy(() => import('./Deployment').then((page) => page.Route))
