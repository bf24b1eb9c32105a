import { createRoute } from '@tanstack/react-router'
import { rootRoute } from '../shell/root'

const word = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' && value.length <= 200 ? value : undefined)

export interface EvalsSearch {
  suite?: string | undefined
  prompt?: string | undefined
  /** The run whose result is looked at. */
  run?: string | undefined
}

export const evalsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/evals',
  validateSearch: (search): EvalsSearch => ({ suite: word(search.suite), prompt: word(search.prompt), run: word(search.run) }),
}).lazy(() => import('./Evals').then((page) => page.Route))
